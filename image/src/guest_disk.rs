//! A disk from which UEFI boots the small Linux guest.

use crate::cache::{Cache, Key, Wanted};
use crate::disk::Disk;
use crate::error::{Doing, ImageError};
use crate::guest::GuestKit;
use crate::host;
use crate::progress::Progress;
use crate::qemu_root::QemuRoot;
use crate::uki::Uki;
use std::fs;
use std::path::{Path, PathBuf};

impl GuestKit {
    /// Returns the image of a disk that boots the guest with a command line, from the cache or built now.
    pub fn disk_image(
        &self,
        command_line: &str,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<PathBuf, ImageError> {
        host::ensure("the guest's disk", &[host::FETCHING, host::IMAGE], cache, progress)?;
        let stub = QemuRoot::prepare(cache, progress)?.boot_stub();
        let key = Key::new()
            .with_recipe(include_str!("guest_disk.rs"))
            .with_recipe(include_str!("uki.rs"))
            .with_recipe(include_str!("disk.rs"))
            .with("command line", command_line.as_bytes())
            .with_file("stub", &stub)?
            .with_file("kernel", &self.kernel)?
            .with_file("initramfs", &self.initramfs)?;
        let identity = key.short();
        let wanted = Wanted { name: "guest-disk", what: "making the Linux guest's disk", key };
        let entry = cache.entry(&wanted, progress, |workshop| {
            let program = workshop.scratch.join("linux.efi");
            let image = self.unified_image(&stub, command_line)?;
            fs::write(&program, image).doing(|| format!("writing {}", program.display()))?;
            let disk = Disk { program: &program, identity: &identity, scratch: &workshop.scratch };
            disk.write(&workshop.out.join("disk.img"), |command| workshop.run(command))
        })?;
        Ok(entry.join("disk.img"))
    }

    fn unified_image(&self, stub: &Path, command_line: &str) -> Result<Vec<u8>, ImageError> {
        let read = |path: &Path| fs::read(path).doing(|| format!("reading {}", path.display()));
        let mut uki = Uki::from_stub(read(stub)?)?;
        uki.linux(command_line, &read(&self.kernel)?, &read(&self.initramfs)?)?;
        Ok(uki.finish())
    }
}

//! A disk from which a BIOS boots the small Linux guest.
//!
//! There is no partition and no file system: GRUB's boot sector loads GRUB from the sectors behind it, and that loads
//! kernel and initramfs from ranges of blocks.

use crate::cache::{Cache, Key, Wanted, Workshop};
use crate::error::{Doing, ImageError};
use crate::guest::GuestKit;
use crate::host;
use crate::progress::Progress;
use crate::qemu_root::QemuRoot;
use std::fs;
use std::path::{Path, PathBuf};

const SECTOR: usize = 512;
/// First sector of the kernel; the boot sector and GRUB are before it.
const KERNEL_SECTOR: usize = 2048;
/// Sectors of which the length of the disk is a multiple.
const DISK_SECTORS: usize = 2048;

/// Folder of GRUB's modules for a BIOS, in QEMU's root.
const GRUB: &str = "usr/lib/grub/i386-pc";
/// Modules that GRUB needs to read the disk and to start Linux.
const MODULES: [&str; 2] = ["biosdisk", "linux"];

impl GuestKit {
    /// Returns the image of a disk that boots the guest with a command line, from the cache or built now.
    pub fn bios_disk_image(
        &self,
        command_line: &str,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<PathBuf, ImageError> {
        host::ensure("the guest's disk", &[host::FETCHING, host::IMAGE], cache, progress)?;
        let root = QemuRoot::prepare(cache, progress)?;
        let key = Key::new()
            .with_recipe(include_str!("bios_disk.rs"))
            .with("command line", command_line.as_bytes())
            .with_file("boot sector", &root.path(GRUB).join("boot.img"))?
            .with_file("kernel", &self.kernel)?
            .with_file("initramfs", &self.initramfs)?;
        let wanted =
            Wanted { name: "guest-bios-disk", what: "making the Linux guest's disk for a BIOS", key };
        let entry =
            cache.entry(&wanted, progress, |workshop| self.write_bios_disk(&root, command_line, workshop))?;
        Ok(entry.join("disk.img"))
    }

    fn write_bios_disk(
        &self,
        root: &QemuRoot,
        command_line: &str,
        workshop: &Workshop<'_>,
    ) -> Result<(), ImageError> {
        let (kernel, initramfs) = (sectors_of(&self.kernel)?, sectors_of(&self.initramfs)?);
        let layout = Layout::of(&kernel, &initramfs);
        let mut disk = sectors_of(&root.path(GRUB).join("boot.img"))?;
        disk.extend(compose_grub(root, &layout.script(command_line), workshop)?);
        assert!(disk.len() <= KERNEL_SECTOR * SECTOR, "GRUB fits before the kernel");
        disk.resize(KERNEL_SECTOR * SECTOR, 0);
        disk.extend(kernel);
        disk.extend(initramfs);
        disk.resize(disk.len().next_multiple_of(DISK_SECTORS * SECTOR), 0);
        let image = workshop.out.join("disk.img");
        fs::write(&image, disk).doing(|| format!("writing {}", image.display()))
    }
}

/// Sectors of kernel and initramfs.
struct Layout {
    kernel_sectors: usize,
    initramfs_sectors: usize,
}

impl Layout {
    fn of(kernel: &[u8], initramfs: &[u8]) -> Self {
        Self { kernel_sectors: kernel.len() / SECTOR, initramfs_sectors: initramfs.len() / SECTOR }
    }

    /// Commands of GRUB that start the guest.
    fn script(&self, command_line: &str) -> String {
        let Self { kernel_sectors, initramfs_sectors } = self;
        let initramfs = KERNEL_SECTOR + kernel_sectors;
        format!(
            "linux (hd0){KERNEL_SECTOR}+{kernel_sectors} {command_line}\n\
             initrd (hd0){initramfs}+{initramfs_sectors}\n\
             boot\n"
        )
    }
}

/// Bytes of a file, with zeroes up to the end of its last sector.
fn sectors_of(path: &Path) -> Result<Vec<u8>, ImageError> {
    let mut bytes = fs::read(path).doing(|| format!("reading {}", path.display()))?;
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
    Ok(bytes)
}

/// GRUB as the boot sector loads it, with a script.
fn compose_grub(root: &QemuRoot, script: &str, workshop: &Workshop<'_>) -> Result<Vec<u8>, ImageError> {
    let (config, core) = (workshop.scratch.join("grub.cfg"), workshop.scratch.join("core.img"));
    fs::write(&config, script).doing(|| format!("writing {}", config.display()))?;
    let mut compose = root.command("grub-mkimage");
    compose.args(["--format", "i386-pc", "--prefix", "/", "--directory"]).arg(root.path(GRUB));
    compose.arg("--config").arg(&config).arg("--output").arg(&core).args(MODULES);
    workshop.run(&mut compose)?;
    sectors_of(&core)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grub_is_told_where_kernel_and_initramfs_are() {
        let layout = Layout::of(&[0; 3 * SECTOR], &[0; 2 * SECTOR]);
        let script = layout.script("console=ttyS0");
        assert_eq!(script, "linux (hd0)2048+3 console=ttyS0\ninitrd (hd0)2051+2\nboot\n");
    }

    #[test]
    fn a_file_ends_with_zeroes_up_to_the_end_of_its_sector() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, [7; SECTOR + 1]).unwrap();
        let bytes = sectors_of(&path).unwrap();
        assert_eq!(bytes.len(), 2 * SECTOR);
        assert!(bytes[SECTOR + 1..].iter().all(|byte| *byte == 0));
    }
}

//! The image as a whole: kernel, luge, configuration and VM pack put together.

use crate::cache::{Cache, Key, Wanted, Workshop};
use crate::disk::{self, Disk};
use crate::error::{Doing, ImageError};
use crate::progress::Progress;
use crate::qemu_root::QemuRoot;
use crate::uki::Uki;
use crate::{host, initramfs, kernel, luge, vm_pack};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the kernel is told when firmware starts the image; a direct boot has to say it itself.
pub const COMMAND_LINE: &str = "console=ttyS0,115200";

/// Names the system, for boot managers and for the firmware's log.
const OS_RELEASE: &str = concat!(
    "ID=luge\nNAME=Luge\nPRETTY_NAME=\"Luge ",
    env!("CARGO_PKG_VERSION"),
    "\"\nVERSION_ID=",
    env!("CARGO_PKG_VERSION"),
    "\n"
);

/// An image to be built.
#[derive(Debug, Clone, Default)]
pub struct ImageBuilder {
    /// Carries QEMU and a small guest, so that the sled runs virtual machines by itself.
    pub vm_pack: bool,
    /// A configuration file that becomes `/etc/luge.json` in the image.
    pub config: Option<PathBuf>,
}

/// What was built.
#[derive(Debug, Clone)]
pub struct Artifacts {
    /// The kernel (bzImage), for a direct boot.
    pub kernel: PathBuf,
    /// The first file system, for a direct boot.
    pub initramfs: PathBuf,
    /// The disk image, to be flashed or booted by UEFI.
    pub disk_image: PathBuf,
}

impl ImageBuilder {
    /// Builds what is not in the cache yet.
    pub fn build(&self, cache: &Cache, progress: &Progress) -> Result<Artifacts, ImageError> {
        if let Some(config) = &self.config {
            // Better now than after the kernel.
            fs::metadata(config).doing(|| format!("reading the configuration {}", config.display()))?;
        }
        host::ensure("the image", &[host::FETCHING, host::KERNEL, host::IMAGE], cache, progress)?;
        let parts = Parts {
            kernel: kernel::APPLIANCE.build(cache, progress)?,
            stub: QemuRoot::prepare(cache, progress)?.path("usr/lib/systemd/boot/efi/linuxx64.efi.stub"),
            vm_pack: self.vm_pack.then(|| vm_pack::build(cache, progress)).transpose()?,
            luge: luge::build_luge(cache, progress)?,
            config: self.config.clone(),
        };
        let key = parts.key()?;
        let identity = key.short();
        let wanted = Wanted { name: "image", what: "putting the image together", key };
        let entry = cache.entry(&wanted, progress, |workshop| parts.assemble(&identity, workshop))?;
        Ok(Artifacts {
            kernel: parts.kernel,
            initramfs: entry.join("initramfs.zst"),
            disk_image: entry.join("luge.img"),
        })
    }
}

impl Artifacts {
    /// Writes the disk image to the file `output`; a device is not written to.
    pub fn save_disk_image(&self, output: &Path) -> Result<(), ImageError> {
        if fs::metadata(output).is_ok_and(|found| !found.is_file()) {
            return Err(ImageError::NotAFile { path: output.to_owned() });
        }
        disk::copy(&self.disk_image, output)
    }
}

/// Where a disk image goes that was given no place.
#[must_use]
pub fn default_output() -> PathBuf {
    luge::workspace().join("target/luge.img")
}

/// Everything an image is made from.
struct Parts {
    kernel: PathBuf,
    stub: PathBuf,
    vm_pack: Option<PathBuf>,
    luge: PathBuf,
    config: Option<PathBuf>,
}

impl Parts {
    fn key(&self) -> Result<Key, ImageError> {
        // What comes from the cache is known by its path: the path holds the hash of its inputs.
        let path = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
        let mut key = Key::new()
            .with("recipe", include_bytes!("image.rs"))
            .with("initramfs", include_bytes!("initramfs.rs"))
            .with("cpio", include_bytes!("cpio.rs"))
            .with("uki", include_bytes!("uki.rs"))
            .with("disk", include_bytes!("disk.rs"))
            .with("kernel", &path(&self.kernel))
            .with("stub", &path(&self.stub))
            .with("vm-pack", &self.vm_pack.as_ref().map(path).unwrap_or_default())
            .with_file("luge", &self.luge)?;
        if let Some(config) = &self.config {
            key = key.with_file("config", config)?;
        }
        Ok(key)
    }

    fn assemble(&self, identity: &str, workshop: &Workshop<'_>) -> Result<(), ImageError> {
        let initramfs = workshop.out.join("initramfs.zst");
        self.write_initramfs(&initramfs, workshop)?;
        let program = workshop.scratch.join("luge.efi");
        let image = self.unified_image(&initramfs)?;
        fs::write(&program, image).doing(|| format!("writing {}", program.display()))?;
        let disk = Disk { program: &program, identity, scratch: &workshop.scratch };
        disk.write(&workshop.out.join("luge.img"), |command| workshop.run(command))
    }

    fn write_initramfs(&self, to: &Path, workshop: &Workshop<'_>) -> Result<(), ImageError> {
        let own = workshop.scratch.join("appliance.zst");
        let archive = initramfs::appliance(&self.luge, self.config.as_deref())?;
        initramfs::compress(&archive, &own, |command| workshop.run(command))?;
        let mut parts = vec![own.as_path()];
        parts.extend(self.vm_pack.as_deref());
        initramfs::join(&parts, to)
    }

    fn unified_image(&self, initramfs: &Path) -> Result<Vec<u8>, ImageError> {
        let read = |path: &Path| fs::read(path).doing(|| format!("reading {}", path.display()));
        let mut uki = Uki::from_stub(read(&self.stub)?)?;
        uki.section(".osrel", OS_RELEASE.as_bytes())?;
        uki.section(".cmdline", COMMAND_LINE.as_bytes())?;
        uki.section(".initrd", &read(initramfs)?)?;
        uki.section(".linux", &read(&self.kernel)?)?;
        Ok(uki.finish())
    }
}

//! The whole image, assembled from kernel, luge, configuration and VM pack.

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

/// Kernel command line of an image that firmware starts; a direct boot has to pass it.
pub const COMMAND_LINE: &str = "console=ttyS0,115200";

/// Name and version of the system, for boot managers and the firmware's log.
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
    /// Whether the image contains QEMU and a small guest, so that the sled runs virtual machines by itself.
    pub vm_pack: bool,
    /// Configuration file that becomes `/etc/luge.json` in the image.
    pub config: Option<PathBuf>,
}

/// Paths of the built files.
#[derive(Debug, Clone)]
pub struct Artifacts {
    /// Kernel (bzImage), for a direct boot.
    pub kernel: PathBuf,
    /// Initramfs, for a direct boot.
    pub initramfs: PathBuf,
    /// Disk image, to be flashed or booted by UEFI.
    pub disk_image: PathBuf,
}

impl ImageBuilder {
    /// Builds the image; parts that are in the cache are taken from there.
    pub fn build(&self, cache: &Cache, progress: &Progress) -> Result<Artifacts, ImageError> {
        if let Some(config) = &self.config {
            // Fails now rather than after the kernel was built.
            fs::metadata(config).doing(|| format!("reading the configuration {}", config.display()))?;
        }
        host::ensure("the image", &[host::FETCHING, host::KERNEL, host::IMAGE], cache, progress)?;
        let parts = Parts {
            kernel: kernel::APPLIANCE.build(cache, progress)?,
            stub: QemuRoot::prepare(cache, progress)?.boot_stub(),
            vm_pack: self.vm_pack.then(|| vm_pack::build(cache, progress)).transpose()?,
            luge: luge::build_luge(cache, progress)?,
            config: self.config.clone(),
        };
        let key = parts.key()?;
        let identity = key.short();
        let wanted = Wanted { name: "image", what: "assembling the image", key };
        let entry = cache.entry(&wanted, progress, |workshop| parts.assemble(&identity, workshop))?;
        Ok(Artifacts {
            kernel: parts.kernel,
            initramfs: entry.join("initramfs.zst"),
            disk_image: entry.join("luge.img"),
        })
    }
}

impl Artifacts {
    /// Writes the disk image to the file `output`; refuses a device.
    pub fn save_disk_image(&self, output: &Path) -> Result<(), ImageError> {
        if fs::metadata(output).is_ok_and(|found| !found.is_file()) {
            return Err(ImageError::NotAFile { path: output.to_owned() });
        }
        disk::copy(&self.disk_image, output)
    }
}

/// Default path of the disk image.
#[must_use]
pub fn default_output() -> PathBuf {
    luge::workspace().join("target/luge.img")
}

/// Default folder of Debian packages.
#[must_use]
pub fn default_package_folder() -> PathBuf {
    luge::workspace().join("target/debian")
}

/// Inputs of an image.
struct Parts {
    kernel: PathBuf,
    stub: PathBuf,
    vm_pack: Option<PathBuf>,
    luge: PathBuf,
    config: Option<PathBuf>,
}

impl Parts {
    fn key(&self) -> Result<Key, ImageError> {
        // The path of a file in the cache contains the hash of its inputs.
        let path = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
        let mut key = Key::new()
            .with_recipe(include_str!("image.rs"))
            .with_recipe(include_str!("initramfs.rs"))
            .with_recipe(include_str!("cpio.rs"))
            .with_recipe(include_str!("uki.rs"))
            .with_recipe(include_str!("disk.rs"))
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
        uki.linux(COMMAND_LINE, &read(&self.kernel)?, &read(initramfs)?)?;
        Ok(uki.finish())
    }
}

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

/// CPUs that an image isolates if it is not told others: of the CPUs from 1 on the first of each four. `N` is the last
/// CPU of the machine (Linux, Documentation/admin-guide/kernel-parameters.rst, "CPU lists"), so that this fits any.
pub const ISOLATED_CPUS: &str = "1-N:1/4";

/// Kernel command line of an image that firmware starts, with a list of CPUs to isolate; a direct boot has to pass it.
///
/// PID 1 serves on the isolated CPUs. No other thread, timer tick or callback of RCU comes there.
///
/// A server has a button, or a command of its BMC, that sends an NMI: the kernel panics then, and the firmware keeps the
/// last words of a sled that hangs.
#[must_use]
pub fn command_line(isolated_cpus: &str) -> String {
    format!(
        "console=ttyS0,115200 unknown_nmi_panic isolcpus=managed_irq,domain,{isolated_cpus} \
         nohz_full={isolated_cpus} rcu_nocbs={isolated_cpus}"
    )
}

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
    /// CPUs to isolate, as a list of the kernel's; [`ISOLATED_CPUS`] if not given.
    pub isolated_cpus: Option<String>,
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
            command_line: command_line(self.isolated_cpus.as_deref().unwrap_or(ISOLATED_CPUS)),
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
    command_line: String,
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
            .with("command line", self.command_line.as_bytes())
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
        uki.linux(&self.command_line, &read(&self.kernel)?, &read(initramfs)?)?;
        Ok(uki.finish())
    }
}

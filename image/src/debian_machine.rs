//! A bare Debian 13 for machines: systemd, and a kernel with VFIO, to try what a host needs and the package of the daemon
//! with SSDs.
//!
//! The root folder is the initramfs, so that the machine needs no disk. Nothing in it is compressed, because an emulated
//! machine takes long to unpack.
//!
//! Not here: the package, and what a test runs: [`DebianMachine::with`] adds them.

use crate::apt::Apt;
use crate::cache::{Cache, Key, Wanted};
use crate::cpio::Cpio;
use crate::debian_root::small_root;
use crate::error::{Doing, ImageError};
use crate::guest::{debian_kernel, kernel_package, kernel_release};
use crate::progress::Progress;
use crate::{host, initramfs};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Modules of the kernel, which `modprobe vfio-pci` loads.
const MODULES: [&str; 5] = [
    "kernel/virt/lib/irqbypass.ko.xz",
    "kernel/drivers/vfio/vfio.ko.xz",
    "kernel/drivers/vfio/vfio_iommu_type1.ko.xz",
    "kernel/drivers/vfio/pci/vfio-pci-core.ko.xz",
    "kernel/drivers/vfio/pci/vfio-pci.ko.xz",
];

/// Signs that systemd has nothing to update at this boot.
const UPDATED: [&str; 2] = ["/etc/.updated", "/var/.updated"];

/// Kernel and initramfs. The kernel's command line needs `rdinit=/usr/lib/systemd/systemd`.
#[derive(Debug, Clone)]
pub struct DebianMachine {
    /// Kernel.
    pub kernel: PathBuf,
    /// Initramfs.
    pub initramfs: PathBuf,
}

impl DebianMachine {
    /// Returns the machine's files, from the cache or built now.
    ///
    /// # Errors
    /// [`ImageError`] if packages cannot be fetched.
    pub fn prepare(cache: &Cache, progress: &Progress) -> Result<Self, ImageError> {
        host::ensure("a Debian machine", &[host::FETCHING, host::IMAGE], cache, progress)?;
        let (root, apt) = (small_root(cache, progress)?, Apt::open(cache, progress)?);
        let package = kernel_package(&apt)?;
        let key = Key::new()
            .with_recipe(include_str!("debian_machine.rs"))
            .with_recipe(include_str!("cpio.rs"))
            .with_recipe(include_str!("guest.rs"))
            .with_recipe(include_str!("initramfs.rs"))
            .with("root", root.as_os_str().as_bytes())
            .with("kernel", apt.candidate(&package)?.as_bytes());
        let wanted = Wanted { name: "debian-machine", what: "preparing a Debian machine", key };
        let entry = cache.entry(&wanted, progress, |workshop| {
            let modules = debian_kernel(&apt, &package, &MODULES, workshop)?;
            let archive = archive(&root, kernel_release(&package), &modules)?;
            let file = workshop.out.join("initramfs");
            fs::write(&file, archive).doing(|| format!("writing {}", file.display()))
        })?;
        Ok(Self { kernel: entry.join("vmlinuz"), initramfs: entry.join("initramfs") })
    }

    /// Copies the initramfs to `to`, and adds all that is in a folder.
    ///
    /// # Errors
    /// [`ImageError`] if files cannot be read or written.
    pub fn with(&self, folder: &Path, to: &Path) -> Result<Self, ImageError> {
        fs::copy(&self.initramfs, to).doing(|| format!("writing {}", to.display()))?;
        let mut cpio = Cpio::new();
        cpio.tree("", folder)?;
        initramfs::append_plain(&cpio.finish()?, to)?;
        Ok(Self { kernel: self.kernel.clone(), initramfs: to.to_owned() })
    }
}

/// Archive of the root folder with modules of the kernel.
fn archive(root: &Path, release: &str, modules: &[PathBuf]) -> Result<Vec<u8>, ImageError> {
    let mut cpio = Cpio::new();
    initramfs::devices(&mut cpio)?;
    for path in UPDATED {
        cpio.file(path, 0o644, &[])?;
    }
    for (module, name) in modules.iter().zip(MODULES) {
        cpio.copy(&format!("/usr/lib/modules/{release}/{}", name.trim_end_matches(".xz")), module)?;
    }
    cpio.tree("", root)?;
    cpio.finish()
}

//! The two kernels: of the appliance, and of the small guest in the VM pack.
//!
//! Both are Linux 6.12 from Debian's source package. A fragment in `buildroot/kernel` is the whole
//! configuration of each.

use crate::apt::{self, Apt, Reach};
use crate::cache::{Cache, Key, Wanted, Workshop};
use crate::error::{Doing, ImageError};
use crate::fragment::Fragment;
use crate::host;
use crate::progress::Progress;
use crate::tool::tool;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's package with the kernel's source.
const PACKAGE: &str = "linux-source-6.12";

/// A kernel to be built.
pub(crate) struct Kernel {
    /// Name of its cache entries.
    name: &'static str,
    /// Name of the step in messages.
    what: &'static str,
    /// Configuration.
    pub(crate) fragment: &'static str,
    /// Target of `make`.
    target: &'static str,
    /// File that `make` builds, below the folder of objects.
    product: &'static str,
}

/// Kernel of the appliance, a bzImage.
pub(crate) const APPLIANCE: Kernel = Kernel {
    name: "kernel",
    what: "building the kernel (some minutes)",
    fragment: include_str!("../../buildroot/kernel/appliance.fragment"),
    target: "bzImage",
    product: "arch/x86/boot/bzImage",
};

/// Kernel of the VM pack's guest, an ELF file that a VMM starts without unpacking (PVH).
pub(crate) const GUEST: Kernel = Kernel {
    name: "guest-kernel",
    what: "building the guest's kernel (some minutes)",
    fragment: include_str!("../../buildroot/kernel/guest.fragment"),
    target: "vmlinux",
    product: "vmlinux",
};

/// Folders of the source that an x86-64 build does not read.
const UNREAD: [&str; 3] = ["drivers/gpu/drm/amd/include", "tools/testing", "Documentation/translations"];

impl Kernel {
    /// Returns the path of the kernel, from the cache or built now.
    pub(crate) fn build(&self, cache: &Cache, progress: &Progress) -> Result<PathBuf, ImageError> {
        host::ensure("the kernel", &[host::FETCHING, host::KERNEL], cache, progress)?;
        let apt = Apt::open(cache, progress)?;
        let key = Key::new()
            .with_recipe(include_str!("kernel.rs"))
            .with("fragment", Fragment::parse(self.fragment).to_string().as_bytes())
            .with(PACKAGE, apt.candidate(PACKAGE)?.as_bytes());
        let wanted = Wanted { name: self.name, what: self.what, key };
        let entry = cache.entry(&wanted, progress, |workshop| self.compile(&apt, workshop))?;
        Ok(entry.join(self.target))
    }

    fn compile(&self, apt: &Apt<'_>, workshop: &Workshop<'_>) -> Result<(), ImageError> {
        let source = unpack(apt, workshop)?;
        let objects = workshop.scratch.join("objects");
        self.configure(&source, &objects, workshop)?;
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        workshop.run(make(&source, &objects).arg(format!("-j{jobs}")).arg(self.target))?;
        let product = objects.join(self.product);
        if self.target == "vmlinux" {
            workshop.run(tool("strip").arg(&product))?;
        }
        for (from, to) in [(product, self.target), (objects.join(".config"), "config")] {
            fs::copy(&from, workshop.out.join(to)).doing(|| format!("keeping {}", from.display()))?;
        }
        Ok(())
    }

    fn configure(&self, source: &Path, objects: &Path, workshop: &Workshop<'_>) -> Result<(), ImageError> {
        let fragment = workshop.scratch.join("fragment");
        fs::write(&fragment, self.fragment).doing(|| format!("writing {}", fragment.display()))?;
        workshop.run(make(source, objects).arg("allnoconfig").env("KCONFIG_ALLCONFIG", &fragment))?;
        let config = objects.join(".config");
        let config = fs::read_to_string(&config).doing(|| format!("reading {}", config.display()))?;
        Fragment::parse(self.fragment).check(&Fragment::parse(&config))
    }
}

/// Fetches and unpacks the source; returns its folder.
fn unpack(apt: &Apt<'_>, workshop: &Workshop<'_>) -> Result<PathBuf, ImageError> {
    apt.fetch(&[PACKAGE], Reach::Alone, &workshop.scratch)?;
    apt::unpack_all(&workshop.scratch, &workshop.scratch, |command| workshop.run(command))?;
    let archive = workshop.scratch.join("usr/src").join(format!("{PACKAGE}.tar.xz"));
    let mut tar = tool("tar");
    tar.arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&workshop.scratch);
    for part in UNREAD {
        tar.arg("--exclude").arg(format!("{PACKAGE}/{part}"));
    }
    // xz unpacks the archive on all processors.
    workshop.run(tar.arg("--use-compress-program=xz --threads=0"))?;
    Ok(workshop.scratch.join(PACKAGE))
}

/// `make` with user, host and time fixed, so that two builds are equal.
fn make(source: &Path, objects: &Path) -> Command {
    let mut make = tool("make");
    make.arg("-C").arg(source).arg(format!("O={}", objects.display()));
    make.env("KBUILD_BUILD_USER", "luge").env("KBUILD_BUILD_HOST", "luge");
    make.env("KBUILD_BUILD_TIMESTAMP", "1970-01-01").env_remove("MAKEFLAGS");
    make
}

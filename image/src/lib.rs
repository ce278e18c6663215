//! Builds the kernel, the initramfs and the bootable disk image of Luge, and the Debian package of its daemon; prepares
//! QEMU and a small Linux guest for the tests.
//!
//! Every result depends on its inputs alone and is kept in a [`Cache`]; only a result whose inputs
//! changed is built again. Root is needed only to install missing Debian packages. Loop devices and
//! mounts are not used.
//!
//! Invariants
//! - No address of an archive or registry is written here: packages come from where the machine's
//!   apt configuration says.
//! - A result is complete or absent.
//!
//! Not here: starting QEMU and checking what runs in it; the production image.

mod apt;
mod archive;
mod bios_disk;
mod cache;
mod cpio;
mod debian;
mod debian_machine;
mod debian_root;
mod disk;
mod error;
mod fragment;
mod guest;
mod guest_disk;
mod host;
mod image;
mod initramfs;
mod journal;
mod kernel;
mod luge;
mod progress;
mod prometheus;
mod pypi;
mod qemu_root;
mod tool;
mod uki;
mod vm_pack;

pub use cache::Cache;
pub use debian::DebianPackage;
pub use debian_machine::DebianMachine;
pub use debian_root::debian_root;
pub use error::ImageError;
pub use guest::GuestKit;
pub use image::{
    Artifacts, ISOLATED_CPUS, ImageBuilder, command_line, default_output, default_package_folder,
};
pub use luge::build_luge;
pub use progress::{Progress, Step};
pub use prometheus::prometheus;
pub use pypi::{PyPiPackage, SPDK_CLIENT};
pub use qemu_root::QemuRoot;

use apt::Apt;

/// Updates Debian's package lists; the next build uses the newest versions.
pub fn refresh_packages(cache: &Cache, progress: &Progress) -> Result<(), ImageError> {
    Apt::refresh(cache, progress)
}

/// Installs the tools that tests need beside Rust, when root; otherwise checks that they are there.
///
/// # Errors
/// [`ImageError::MissingPackages`] names the packages that are missing; a package may fail to install.
pub fn ensure_test_tools(cache: &Cache, progress: &Progress) -> Result<(), ImageError> {
    host::ensure("the tests", &[host::TESTS], cache, progress)
}

/// Installs the browser that tests of web pages need, when root; otherwise checks that it is there.
///
/// # Errors
/// [`ImageError::MissingPackages`] names the package that is missing; it may fail to install.
pub fn ensure_browser(cache: &Cache, progress: &Progress) -> Result<(), ImageError> {
    host::ensure("tests of web pages", &[host::BROWSER], cache, progress)
}

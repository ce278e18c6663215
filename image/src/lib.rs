//! Builds what Luge boots: the kernel, the initramfs and the bootable disk image;
//! and brings what the tests around them need: QEMU, and a small Linux guest.
//!
//! Everything is a function of its inputs and is kept in a [`Cache`], so that only
//! what changed is built again. Nothing here needs root, except to install Debian
//! packages that are missing; no loop device and no mount is used.
//!
//! Invariants
//! - No address of an archive or registry is written here: the machine's own
//!   configuration says where packages come from.
//! - A result is complete or absent.
//!
//! Not here: starting QEMU and judging what happens inside; the production image.

mod apt;
mod archive;
mod cache;
mod cpio;
mod disk;
mod error;
mod fragment;
mod guest;
mod host;
mod image;
mod initramfs;
mod journal;
mod kernel;
mod luge;
mod progress;
mod qemu_root;
mod uki;
mod vm_pack;

pub use cache::Cache;
pub use error::ImageError;
pub use guest::GuestKit;
pub use image::{Artifacts, COMMAND_LINE, ImageBuilder, default_output};
pub use luge::build_luge;
pub use progress::{Progress, Step};
pub use qemu_root::QemuRoot;

use apt::Apt;

/// Reads Debian's package lists anew, so that the next build uses the newest versions.
pub fn refresh_packages(cache: &Cache, progress: &Progress) -> Result<(), ImageError> {
    Apt::refresh(cache, progress)
}

/// Makes sure that this machine has what tests need beside Rust; installs it when root.
///
/// # Errors
/// [`ImageError::MissingPackages`] names what is missing; or a package does not install.
pub fn ensure_test_tools(cache: &Cache, progress: &Progress) -> Result<(), ImageError> {
    host::ensure("the tests", &[host::TESTS], cache, progress)
}

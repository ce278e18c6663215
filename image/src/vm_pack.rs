//! The VM pack: what the appliance needs to run virtual machines by itself.
//!
//! It is an archive that goes behind the appliance's own tree in the initramfs:
//! QEMU with exactly the libraries and firmware it loads, and the small guest.
//! Paths inside are Debian's, so that QEMU finds everything without being told.

use crate::cache::{Cache, Key, Wanted, Workshop};
use crate::cpio::Cpio;
use crate::error::ImageError;
use crate::guest::{self, GuestKit};
use crate::initramfs;
use crate::progress::Progress;
use crate::qemu_root::QemuRoot;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// QEMU, in the appliance. It finds its firmware relative to this place.
const QEMU: &str = "/usr/bin/qemu-system-x86_64";
/// The small guest's kernel, in the appliance.
const GUEST_KERNEL: &str = "/usr/share/luge/guest/kernel";
/// The small guest's first file system, in the appliance.
const GUEST_INITRAMFS: &str = "/usr/share/luge/guest/initramfs";

/// Firmware that a q35 machine with virtio disks loads.
const FIRMWARE: [&str; 4] = [
    "usr/share/seabios/bios-256k.bin",
    "usr/share/qemu/kvmvapic.bin",
    // What `-kernel` starts a bzImage with.
    "usr/share/qemu/linuxboot_dma.bin",
    // And an ELF file: without it QEMU says nothing, and the firmware finds nothing to boot.
    "usr/share/qemu/pvh.bin",
];

/// Finds the pack in the cache, or makes it; returns the compressed archive.
pub(crate) fn build(cache: &Cache, progress: &Progress) -> Result<PathBuf, ImageError> {
    let root = QemuRoot::prepare(cache, progress)?;
    let guest = GuestKit::for_pack(cache, progress)?;
    let key = Key::new()
        .with("recipe", include_bytes!("vm_pack.rs"))
        .with("root", root.path("").as_os_str().as_bytes())
        .with("guest", guest.initramfs.as_os_str().as_bytes())
        .with("kernel", guest.kernel.as_os_str().as_bytes());
    let wanted = Wanted { name: "vm-pack", what: "packing QEMU for the appliance", key };
    let entry = cache.entry(&wanted, progress, |workshop| pack(&root, &guest, workshop))?;
    Ok(entry.join("vm-pack.zst"))
}

fn pack(root: &QemuRoot, guest: &GuestKit, workshop: &Workshop<'_>) -> Result<(), ImageError> {
    let mut cpio = Cpio::new();
    guest::add_program(&mut cpio, QEMU, root, workshop)?;
    for file in FIRMWARE {
        cpio.copy(&format!("/{file}"), &root.path(file))?;
    }
    cpio.copy(GUEST_KERNEL, &guest.kernel)?;
    cpio.copy(GUEST_INITRAMFS, &guest.initramfs)?;
    let archive = cpio.finish()?;
    initramfs::compress(&archive, &workshop.out.join("vm-pack.zst"), |command| workshop.run(command))
}

//! The VM pack: the files with which the appliance runs virtual machines by itself.
//!
//! An archive behind the appliance's own in the initramfs: QEMU with the libraries and firmware that
//! it loads, and the small guest. Paths are Debian's, so that QEMU finds everything by itself.

use crate::cache::{Cache, Key, Wanted, Workshop};
use crate::cpio::Cpio;
use crate::error::ImageError;
use crate::guest::{self, GuestKit};
use crate::initramfs;
use crate::progress::Progress;
use crate::qemu_root::QemuRoot;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Path of QEMU in the appliance. QEMU finds its firmware relative to it.
const QEMU: &str = "/usr/bin/qemu-system-x86_64";
/// Path of the small guest's kernel in the appliance.
const GUEST_KERNEL: &str = "/usr/share/luge/guest/kernel";
/// Path of the small guest's initramfs in the appliance.
const GUEST_INITRAMFS: &str = "/usr/share/luge/guest/initramfs";

/// Firmware that a q35 machine with virtio disks loads.
const FIRMWARE: [&str; 4] = [
    "usr/share/seabios/bios-256k.bin",
    "usr/share/qemu/kvmvapic.bin",
    // Starts a bzImage given by `-kernel`.
    "usr/share/qemu/linuxboot_dma.bin",
    // Starts an ELF file; without it QEMU reports nothing, and the firmware finds nothing to boot.
    "usr/share/qemu/pvh.bin",
];

/// Returns the path of the compressed archive, from the cache or made now.
pub(crate) fn build(cache: &Cache, progress: &Progress) -> Result<PathBuf, ImageError> {
    let root = QemuRoot::prepare(cache, progress)?;
    let guest = GuestKit::for_pack(cache, progress)?;
    let key = Key::new()
        .with_recipe(include_str!("vm_pack.rs"))
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

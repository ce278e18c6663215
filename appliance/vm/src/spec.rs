//! Definition of a VM, checked when the VM is created.
//!
//! Not here: QEMU's command line (`arguments`).

use crate::error::VmError;
use rustix::process::geteuid;
use serde::Serialize;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Maximum number of virtual CPUs.
pub const CPUS_MAX: u32 = 255;
/// Minimum memory.
pub const MEMORY_MIN_MIB: u64 = 16;
/// Maximum memory.
pub const MEMORY_MAX_MIB: u64 = 16 << 20;
/// Maximum number of disks, each of which is a PCI function on the root bus.
pub const DISKS_MAX: usize = 24;

/// Name of a VM and of its folder: 1 to 64 letters, digits, dots, dashes and underscores, not starting
/// with a dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct VmName(String);

impl VmName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`VmError::Name`].
    pub fn new(name: &str) -> Result<Self, VmError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(legal) {
            Ok(Self(name.to_owned()))
        } else {
            Err(VmError::Name(name.chars().take(80).collect()))
        }
    }

    /// Text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Definition of a VM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmSpec {
    /// Name.
    pub name: VmName,
    /// Virtual CPUs, 1 to [`CPUS_MAX`].
    pub cpus: u32,
    /// Memory, an even number of MiB: pages have 2 MiB.
    pub memory_mib: u64,
    /// Pages of the memory.
    pub memory: MemoryPages,
    /// Disks, in the guest's order.
    pub disks: Vec<VmDisk>,
    /// Kernel or firmware.
    pub boot: Boot,
    /// Accelerator of QEMU.
    pub accelerator: Accelerator,
}

/// A disk of a VM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmDisk {
    /// Kind of device that the guest sees.
    pub kind: DiskKind,
    /// Name of the vhost controller, or directory of the NVMe listener.
    pub controller: String,
    /// Path of the controller's or listener's socket.
    pub socket: PathBuf,
    /// Number of queues for requests, from 1 to the number of the controller's.
    pub queues: u16,
}

/// Kind of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DiskKind {
    /// A virtio block device, over vhost-user.
    #[default]
    VirtioBlk,
    /// A virtio SCSI host bus adapter with its LUNs, over vhost-user.
    VirtioScsi,
    /// An NVMe controller, over vfio-user.
    Nvme,
}

/// Pages of a VM's memory, which is shared with Luge and the SSDs in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemoryPages {
    /// Hugepages of 2 MiB.
    #[default]
    Huge,
    /// Pages of 4 KiB, which are slower.
    Base,
}

/// Kernel or firmware that a VM boots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Boot {
    /// Linux kernel, which QEMU loads.
    Kernel {
        /// Path of a bzImage.
        kernel: PathBuf,
        /// Path of the initramfs.
        initrd: Option<PathBuf>,
        /// Kernel command line.
        command_line: String,
    },
    /// Path of a firmware image; QEMU's own firmware (SeaBIOS) if none.
    Firmware(Option<PathBuf>),
}

/// Accelerator of QEMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Accelerator {
    /// KVM if a trial shows that it works, otherwise TCG.
    #[default]
    Auto,
    /// KVM, without a trial.
    Kvm,
    /// TCG: translation of instructions.
    Tcg,
}

impl VmSpec {
    /// Checks sizes, disks and files.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(&self) -> Result<(), VmError> {
        self.check_size()?;
        for (index, disk) in self.disks.iter().enumerate() {
            if disk.queues == 0 || self.disks[..index].iter().any(|other| other.controller == disk.controller)
            {
                return Err(VmError::Disk(disk.controller.clone()));
            }
        }
        match &self.boot {
            Boot::Kernel { kernel, initrd, command_line } => {
                check_file(kernel)?;
                initrd.as_deref().map_or(Ok(()), check_file)?;
                check_command_line(command_line)
            }
            Boot::Firmware(firmware) => firmware.as_deref().map_or(Ok(()), check_file),
        }
    }

    fn check_size(&self) -> Result<(), VmError> {
        if !(1..=CPUS_MAX).contains(&self.cpus) {
            return Err(VmError::Cpus(self.cpus));
        }
        let fits =
            (MEMORY_MIN_MIB..=MEMORY_MAX_MIB).contains(&self.memory_mib) && self.memory_mib.is_multiple_of(2);
        if !fits {
            return Err(VmError::Memory(self.memory_mib));
        }
        if self.disks.len() > DISKS_MAX {
            return Err(VmError::TooManyDisks(self.disks.len()));
        }
        Ok(())
    }
}

fn check_file(path: &Path) -> Result<(), VmError> {
    let file = fs::metadata(path).ok().filter(|file| path.is_absolute() && file.is_file());
    let file = file.ok_or_else(|| VmError::File(path.to_owned()))?;
    // A VM of root's has a user of its own, who is neither owner nor in the group.
    let has_access = !geteuid().is_root() || file.mode() & 0o004 != 0;
    if has_access { Ok(()) } else { Err(VmError::Unreadable(path.to_owned())) }
}

/// Checks a kernel command line, which may have 2047 bytes for Linux on x86-64.
fn check_command_line(text: &str) -> Result<(), VmError> {
    let plain = text.len() < 2048 && !text.chars().any(char::is_control);
    if plain { Ok(()) } else { Err(VmError::CommandLine) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> VmSpec {
        VmSpec {
            name: VmName::new("one").unwrap(),
            cpus: 1,
            memory_mib: 64,
            memory: MemoryPages::Huge,
            disks: Vec::new(),
            boot: Boot::Firmware(None),
            accelerator: Accelerator::Auto,
        }
    }

    fn disk(controller: &str) -> VmDisk {
        VmDisk {
            kind: DiskKind::default(),
            controller: controller.into(),
            socket: "/run/x".into(),
            queues: 1,
        }
    }

    #[test]
    fn a_name_is_a_safe_folder_name_of_at_most_64_characters() {
        for good in ["a", "vm-1.two_3", &"x".repeat(64)] {
            assert!(VmName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a b", "a,b", "ä", "a\n", &"x".repeat(65)] {
            assert!(VmName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        assert!(spec().check().is_ok());
        for cpus in [0, 256] {
            assert_eq!(VmSpec { cpus, ..spec() }.check(), Err(VmError::Cpus(cpus)));
        }
        for memory_mib in [0, 14, 65, MEMORY_MAX_MIB + 2, u64::MAX] {
            assert_eq!(VmSpec { memory_mib, ..spec() }.check(), Err(VmError::Memory(memory_mib)));
        }
        let disks: Vec<_> = (0..25).map(|n| disk(&n.to_string())).collect();
        assert_eq!(VmSpec { disks, ..spec() }.check(), Err(VmError::TooManyDisks(25)));
    }

    #[test]
    fn the_same_disk_twice_is_refused() {
        let disks = vec![disk("a"), disk("b"), disk("a")];
        assert_eq!(VmSpec { disks, ..spec() }.check(), Err(VmError::Disk("a".into())));
    }

    #[test]
    fn files_must_exist_and_command_lines_be_plain() {
        let boot = |kernel: &str, command_line: &str| Boot::Kernel {
            kernel: kernel.into(),
            initrd: None,
            command_line: command_line.into(),
        };
        let check = |boot| VmSpec { boot, ..spec() }.check();
        assert_eq!(check(boot("/nowhere", "")), Err(VmError::File("/nowhere".into())));
        assert_eq!(check(boot("/proc/self/exe", "a\nb")), Err(VmError::CommandLine));
        assert_eq!(check(boot("/proc/self/exe", "console=ttyS0")), Ok(()));
        assert!(check(Boot::Firmware(Some("relative".into()))).is_err());
    }
}

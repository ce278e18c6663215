//! The file systems of the appliance. None of them is on a disk.
//!
//! Invariants
//! - Mounting twice is mounting once.
//! - One that fails is named and keeps none of the others from being mounted.

use rustix::mount::{MountFlags, mount};
use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::path::Path;
use thiserror::Error;

/// Whether the appliance can be without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// Every sled has it.
    Always,
    /// Only where its mount point exists: the kernel makes that if there is something behind it.
    WherePossible,
}

#[derive(Clone, Copy, Debug)]
struct Mount {
    kind: &'static str,
    target: &'static str,
    options: &'static CStr,
    flags: MountFlags,
    need: Need,
}

const QUIET: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
const DEVICES: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);

/// In the order of mounting: what is mounted on another comes after it.
const MOUNTS: [Mount; 9] = [
    Mount { kind: "proc", target: "/proc", options: c"", flags: QUIET, need: Need::Always },
    Mount { kind: "sysfs", target: "/sys", options: c"", flags: QUIET, need: Need::Always },
    Mount { kind: "devtmpfs", target: "/dev", options: c"mode=0755", flags: DEVICES, need: Need::Always },
    Mount {
        kind: "devpts",
        target: "/dev/pts",
        options: c"mode=620,ptmxmode=666",
        flags: DEVICES,
        need: Need::Always,
    },
    Mount {
        kind: "hugetlbfs",
        target: "/dev/hugepages",
        options: c"mode=0700,pagesize=2M",
        flags: QUIET,
        need: Need::Always,
    },
    Mount { kind: "tmpfs", target: "/run", options: c"mode=0755,size=64M", flags: QUIET, need: Need::Always },
    Mount { kind: "tmpfs", target: "/tmp", options: c"mode=1777,size=64M", flags: QUIET, need: Need::Always },
    Mount {
        kind: "efivarfs",
        target: "/sys/firmware/efi/efivars",
        options: c"",
        flags: QUIET.union(MountFlags::RDONLY),
        need: Need::WherePossible,
    },
    Mount { kind: "pstore", target: "/sys/fs/pstore", options: c"", flags: QUIET, need: Need::WherePossible },
];

/// A file system that could not be mounted.
#[derive(Debug, Error)]
#[error("{kind} could not be mounted on {target}: {error}; check that the kernel has it")]
pub struct MountFault {
    kind: &'static str,
    target: &'static str,
    error: io::Error,
}

/// Mounts what is not mounted yet. Returns what could not be.
pub fn mount_all() -> Vec<MountFault> {
    MOUNTS.iter().filter_map(|mount| mount.make().err()).collect()
}

impl Mount {
    fn make(&self) -> Result<(), MountFault> {
        // Without /proc nothing is known to be mounted, and /proc is the first to be.
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let absent = self.need == Need::WherePossible && !Path::new(self.target).is_dir();
        if absent || self.is_in(&table) {
            return Ok(());
        }
        self.mount().map_err(|error| MountFault { kind: self.kind, target: self.target, error })
    }

    fn mount(&self) -> io::Result<()> {
        if self.need == Need::Always {
            fs::create_dir_all(self.target)?;
        }
        let options = CString::from(self.options);
        mount(self.kind, self.target, self.kind, self.flags, Some(options.as_c_str()))?;
        Ok(())
    }

    /// Whether the kernel's table of mounts has it. Format: proc(5), `/proc/pid/mountinfo`:
    /// the fifth field is the mount point, the first after the dash the type.
    fn is_in(&self, table: &str) -> bool {
        table.lines().any(|line| {
            let mut fields = line.split(' ');
            let here = fields.nth(4) == Some(self.target);
            here && fields.skip_while(|field| *field != "-").nth(1) == Some(self.kind)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 28 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw
23 28 0:21 / /proc rw,nosuid - proc proc rw
24 28 0:5 / /dev rw,nosuid shared:2 master:1 - tmpfs udev rw
";

    fn found(target: &str) -> bool {
        MOUNTS.iter().find(|mount| mount.target == target).unwrap().is_in(TABLE)
    }

    #[test]
    fn only_the_same_kind_at_the_same_place_counts_as_mounted() {
        assert!(found("/sys") && found("/proc"));
        assert!(!found("/dev") && !found("/run"));
    }

    #[test]
    fn what_is_mounted_on_another_comes_after_it() {
        for (index, mount) in MOUNTS.iter().enumerate() {
            let later = &MOUNTS[index..];
            let under =
                |other: &&Mount| other.target != mount.target && mount.target.starts_with(other.target);
            assert_eq!(later.iter().find(under).map(|other| other.target), None, "{}", mount.target);
        }
    }
}

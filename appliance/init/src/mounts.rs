//! File systems of the appliance, all of them in memory or of the kernel.
//!
//! Invariants
//! - A file system that is mounted already is not mounted again.
//! - A failure is reported and does not prevent the other mounts.

use rustix::mount::{MountFlags, mount};
use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::path::Path;
use thiserror::Error;

/// Condition of a mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// Always mounted; the mount point is made.
    Always,
    /// Mounted if its mount point exists, which the kernel makes if the machine has the feature.
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

/// All mounts, in their order: a mount point comes after the file system that it is on.
const MOUNTS: [Mount; 10] = [
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
    // For the bounds of VMs.
    Mount {
        kind: "cgroup2",
        target: "/sys/fs/cgroup",
        options: c"",
        flags: QUIET,
        need: Need::WherePossible,
    },
    Mount { kind: "pstore", target: "/sys/fs/pstore", options: c"", flags: QUIET, need: Need::WherePossible },
];

/// Error of mounting a file system.
#[derive(Debug, Error)]
#[error("{kind} could not be mounted on {target}: {error}; check that the kernel has it")]
pub struct MountError {
    kind: &'static str,
    target: &'static str,
    error: io::Error,
}

/// Mounts all file systems that are not mounted yet; returns the failures.
pub fn mount_all() -> Vec<MountError> {
    MOUNTS.iter().filter_map(|mount| mount.make().err()).collect()
}

impl Mount {
    fn make(&self) -> Result<(), MountError> {
        // An unreadable table means that nothing is mounted: /proc itself comes first.
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let absent = self.need == Need::WherePossible && !Path::new(self.target).is_dir();
        if absent || self.is_in(&table) {
            return Ok(());
        }
        self.mount().map_err(|error| MountError { kind: self.kind, target: self.target, error })
    }

    fn mount(&self) -> io::Result<()> {
        if self.need == Need::Always {
            fs::create_dir_all(self.target)?;
        }
        let options = CString::from(self.options);
        mount(self.kind, self.target, self.kind, self.flags, Some(options.as_c_str()))?;
        Ok(())
    }

    /// Whether the kernel's table of mounts has this one. In `/proc/pid/mountinfo`, see proc(5), the
    /// fifth field is the mount point, and the first after the dash is the type.
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
    fn only_the_right_type_at_the_mount_point_counts_as_mounted() {
        for (target, expected) in [("/sys", true), ("/proc", true), ("/dev", false), ("/run", false)] {
            assert_eq!(found(target), expected, "{target}");
        }
    }

    #[test]
    fn a_mount_point_comes_after_the_file_system_that_it_is_on() {
        for (index, mount) in MOUNTS.iter().enumerate() {
            let later = &MOUNTS[index..];
            let under =
                |other: &&Mount| other.target != mount.target && mount.target.starts_with(other.target);
            assert_eq!(later.iter().find(under).map(|other| other.target), None, "{}", mount.target);
        }
    }
}

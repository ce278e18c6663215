//! Whether the host itself uses an SSD, and for what.
//!
//! Path: none; asked once, before an SSD is taken from its kernel driver. What is mounted,
//! swapped to or held by another block device (RAID, LVM, dm-crypt) is never taken.

use crate::sysfs::names;
use crate::{PciAddress, SysfsRoot};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs;
use std::path::Path;

/// A use, in words that name it: `nvme0n1p2 is mounted on /home`.
pub fn find(root: &SysfsRoot, address: PciAddress) -> Option<String> {
    let disks = disks(root, address);
    disks.iter().find_map(|disk| {
        let folder = root.path("/sys/class/block").join(disk);
        let mut devices = vec![disk.clone()];
        devices.extend(names(&folder).unwrap_or_default().into_iter().filter(|name| name.starts_with(disk)));
        devices.iter().find_map(|device| device_use(root, device)).or_else(|| claimed(root, disk))
    })
}

/// The block devices of an NVMe controller that the kernel drives.
fn disks(root: &SysfsRoot, address: PciAddress) -> Vec<String> {
    let folder = root.function(address, "nvme");
    let controllers = names(&folder).unwrap_or_default();
    let entries = controllers.iter().flat_map(|name| names(&folder.join(name)).unwrap_or_default());
    entries.filter_map(|name| disk_of(&name)).collect()
}

/// The disk of a namespace: itself, or with native multipath, where `nvme0c1n2` is one path
/// of two, the disk above the paths, `nvme0n2`.
fn disk_of(name: &str) -> Option<String> {
    let (controller, namespace) = name.strip_prefix("nvme")?.rsplit_once('n')?;
    let subsystem = controller.split_once('c').map_or(controller, |(subsystem, _)| subsystem);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(subsystem) && number(namespace)).then(|| format!("nvme{subsystem}n{namespace}"))
}

fn device_use(root: &SysfsRoot, device: &str) -> Option<String> {
    let folder = root.path("/sys/class/block").join(device);
    let holder = names(&folder.join("holders")).unwrap_or_default().into_iter().next();
    let held = holder.map(|holder| format!("{device} is part of {holder}"));
    held.or_else(|| mounted(root, device, &folder)).or_else(|| swapped(root, device))
}

/// Finds a mount by its device number, or by its source: btrfs shows numbers of its own.
fn mounted(root: &SysfsRoot, device: &str, folder: &Path) -> Option<String> {
    let number = fs::read_to_string(folder.join("dev")).unwrap_or_default();
    let mounts = fs::read_to_string(root.path("/proc/self/mountinfo")).unwrap_or_default();
    mounts.lines().find_map(|line| {
        let (mount, origin) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(2);
        let (mount_number, place) = (fields.next()?, fields.nth(1)?);
        let by_source = origin.split(' ').nth(1).and_then(|path| path.strip_prefix("/dev/")) == Some(device);
        (by_source || mount_number == number.trim()).then(|| format!("{device} is mounted on {place}"))
    })
}

fn swapped(root: &SysfsRoot, device: &str) -> Option<String> {
    let swaps = fs::read_to_string(root.path("/proc/swaps")).unwrap_or_default();
    let listed =
        |line: &str| line.split_whitespace().next()?.strip_prefix("/dev/").map(|name| name == device);
    swaps.lines().any(|line| listed(line) == Some(true)).then(|| format!("{device} is swap space"))
}

/// What the lists above do not show (a mount in a container, ZFS) the kernel tells: it gives
/// a disk that it uses itself to nobody else exclusively.
fn claimed(root: &SysfsRoot, disk: &str) -> Option<String> {
    let path = root.path("/dev").join(disk);
    let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty());
    (opened.err() == Some(Errno::BUSY)).then(|| format!("the kernel uses {disk}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::FakeHost;

    const ADDRESS: &str = "0000:01:00.0";

    fn host() -> FakeHost {
        let host = FakeHost::new();
        host.function(ADDRESS).disk(ADDRESS, "nvme0", "nvme0n1", "259:0");
        host.partition("nvme0n1", "nvme0n1p2", "259:2");
        host
    }

    fn found(host: &FakeHost) -> Option<String> {
        find(&host.root(), ADDRESS.parse().unwrap())
    }

    #[test]
    fn a_disk_that_nobody_uses_is_free() {
        let host = host();
        host.file("proc/self/mountinfo", "22 1 259:7 / / rw - ext4 /dev/nvme1n1p2 rw\n");
        host.file("proc/swaps", "Filename Type Size Used Priority\n/dev/nvme1n1p3 partition 1 0 -2\n");
        assert_eq!(found(&host), None);
    }

    #[test]
    fn a_mounted_partition_is_found_by_its_number() {
        let host = host();
        host.file("proc/self/mountinfo", "22 1 259:2 / /home rw shared:1 - ext4 /dev/root rw\n");
        assert_eq!(found(&host).unwrap(), "nvme0n1p2 is mounted on /home");
    }

    #[test]
    fn a_mounted_disk_is_found_by_its_name() {
        let host = host();
        host.file("proc/self/mountinfo", "22 1 0:31 / /data rw - btrfs /dev/nvme0n1 rw\n");
        assert_eq!(found(&host).unwrap(), "nvme0n1 is mounted on /data");
    }

    #[test]
    fn swap_space_is_found() {
        let host = host();
        host.file("proc/swaps", "Filename Type Size Used Priority\n/dev/nvme0n1p2  partition\t1 0 -2\n");
        assert_eq!(found(&host).unwrap(), "nvme0n1p2 is swap space");
    }

    #[test]
    fn a_part_of_a_raid_is_found() {
        let host = host();
        host.file("sys/class/block/nvme0n1/nvme0n1p2/holders/md0", "");
        host.file("sys/class/block/nvme0n1p2/holders/md0", "");
        assert_eq!(found(&host).unwrap(), "nvme0n1p2 is part of md0");
    }

    #[test]
    fn a_path_of_a_multipath_disk_leads_to_the_disk() {
        assert_eq!(disk_of("nvme0c1n2").as_deref(), Some("nvme0n2"));
        assert_eq!(disk_of("nvme10n3").as_deref(), Some("nvme10n3"));
        for name in ["nvme", "nvme0", "ng0n1", "hwmon0", "nvmen1", "nvme0n", "nvme0n1p1"] {
            assert_eq!(disk_of(name), None, "{name}");
        }
    }
}

//! Uses of an SSD by the host, checked once before the SSD is unbound from its kernel driver.
//!
//! An SSD with a mount, swap space, another block device on it (RAID, LVM, dm-crypt) or an open file is
//! refused.

use crate::openers::{self, Node};
use crate::sysfs::names;
use crate::{PciAddress, SysfsRoot};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs;
use std::path::{Path, PathBuf};

/// Finds a use and describes it: `nvme0n1p2 is mounted on /home`.
pub fn find(root: &SysfsRoot, address: PciAddress) -> Option<String> {
    let namespaces = namespaces(root, address);
    let disks: Vec<String> = namespaces.iter().filter_map(|path| disk_of(file_name(path)?)).collect();
    let used = disks.iter().find_map(|disk| {
        let mut devices = devices(root, disk).into_iter();
        devices.find_map(|device| device_use(root, &device)).or_else(|| claimed(root, disk))
    });
    used.or_else(|| {
        let blocks = disks.iter().flat_map(|disk| devices(root, disk)).filter_map(|device| {
            Node::of(&root.path("/sys/class/block").join(&device), &device, FileType::BlockDevice)
        });
        let generic = namespaces.iter().filter_map(|path| {
            let name = file_name(path).filter(|name| name.starts_with("ng"))?;
            Node::of(path, name, FileType::CharacterDevice)
        });
        openers::find(root, &blocks.chain(generic).collect::<Vec<_>>())
    })
}

/// Folders that the kernel's driver has made for the namespaces of a controller, among others.
fn namespaces(root: &SysfsRoot, address: PciAddress) -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        names(folder).unwrap_or_default().iter().map(|name| folder.join(name)).collect()
    };
    below(&root.function(address, "nvme")).iter().flat_map(|controller| below(controller)).collect()
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// Names of a disk and its partitions.
fn devices(root: &SysfsRoot, disk: &str) -> Vec<String> {
    let below = names(&root.path("/sys/class/block").join(disk)).unwrap_or_default();
    let partitions = below.into_iter().filter(|name| name.starts_with(disk));
    [disk.to_owned()].into_iter().chain(partitions).collect()
}

/// Disk of a namespace: itself, or with native multipath, where `nvme0c1n2` is one path of several, the
/// disk above the paths, `nvme0n2`.
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

/// Finds a mount by its device number, or by its source, because btrfs has device numbers of its own.
fn mounted(root: &SysfsRoot, device: &str, folder: &Path) -> Option<String> {
    let number = fs::read_to_string(folder.join("dev")).unwrap_or_default();
    let mounts = fs::read_to_string(root.path("/proc/self/mountinfo")).unwrap_or_default();
    mounts.lines().find_map(|line| {
        let (mount, origin) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(2);
        let (mount_number, mount_point) = (fields.next()?, fields.nth(1)?);
        let by_source = origin.split(' ').nth(1).and_then(|path| path.strip_prefix("/dev/")) == Some(device);
        (by_source || mount_number == number.trim()).then(|| format!("{device} is mounted on {mount_point}"))
    })
}

fn swapped(root: &SysfsRoot, device: &str) -> Option<String> {
    let swaps = fs::read_to_string(root.path("/proc/swaps")).unwrap_or_default();
    let listed =
        |line: &str| line.split_whitespace().next()?.strip_prefix("/dev/").map(|name| name == device);
    swaps.lines().any(|line| listed(line) == Some(true)).then(|| format!("{device} is swap space"))
}

/// Tries to open the disk exclusively, which the kernel refuses while it uses the disk. That covers uses
/// which the lists above do not show: a mount in a container, ZFS.
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
    fn a_device_file_that_a_process_has_open_is_found() {
        let host = host();
        // /dev/null is a character device, and so only the generic device file has its numbers.
        host.disk(ADDRESS, "nvme0", "nvme0n2", "1:3").process(812, "mysqld", &["/dev/null"]);
        assert_eq!(found(&host), None);
        host.generic(ADDRESS, "nvme0", "ng0n1", "1:3");
        assert_eq!(found(&host).unwrap(), "ng0n1 is open in process 812 mysqld");
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

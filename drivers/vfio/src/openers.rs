//! Processes that have a device file of an SSD open: a database on the raw disk, a VM, a partitioning
//! tool.
//!
//! Uses by the kernel are found in `in_use`. A process that opened a disk non-exclusively is visible only
//! by its file descriptors in `/proc`.
//!
//! Invariant: no file is opened, and no request goes to a file system that could block.
//!
//! Not here: processes of other PID namespaces, and those that we have no permission to inspect.

use crate::SysfsRoot;
use crate::sysfs::names;
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Times that a file has to be found open. udev opens every new disk for a moment.
const LOOKS: u32 = 10;
const NAP: Duration = Duration::from_millis(50);

/// A device file.
pub struct Node {
    name: String,
    kind: FileType,
    /// Major and minor number.
    number: (u32, u32),
}

impl Node {
    /// Device file `name` of that kind, with the numbers in the file `dev` of `folder`.
    pub fn of(folder: &Path, name: &str, kind: FileType) -> Option<Self> {
        let text = fs::read_to_string(folder.join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self { name: name.to_owned(), kind, number: (major.parse().ok()?, minor.parse().ok()?) })
    }
}

/// Finds a process that keeps one of `nodes` open, and describes it:
/// `nvme0n1 is open in process 812 mysqld`.
pub fn find(root: &SysfsRoot, nodes: &[Node]) -> Option<String> {
    lasting(root, nodes, || thread::sleep(NAP))
}

fn lasting(root: &SysfsRoot, nodes: &[Node], nap: impl Fn()) -> Option<String> {
    for _ in 1..LOOKS {
        look(root, nodes)?;
        nap();
    }
    look(root, nodes)
}

fn look(root: &SysfsRoot, nodes: &[Node]) -> Option<String> {
    if nodes.is_empty() {
        return None;
    }
    let processes = names(&root.path("/proc")).unwrap_or_default();
    processes.iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).find_map(|process| {
        let folder = root.path("/proc").join(process);
        let files = names(&folder.join("fd")).unwrap_or_default();
        let node = files.iter().find_map(|file| node_at(&folder.join("fd").join(file), nodes))?;
        let program = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        Some(format!("{} is open in process {process} {}", node.name, program.trim_end()))
    })
}

/// Device file among `nodes` that a file descriptor refers to.
fn node_at<'a>(descriptor: &Path, nodes: &'a [Node]) -> Option<&'a Node> {
    // Without synchronisation, so that no server of a network file system is asked.
    let file = statx(CWD, descriptor, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE).ok()?;
    let (kind, number) =
        (FileType::from_raw_mode(file.stx_mode.into()), (file.stx_rdev_major, file.stx_rdev_minor));
    nodes.iter().find(|node| (node.kind, node.number) == (kind, number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::FakeHost;

    /// A device file with the numbers of `/dev/null`, which every machine has.
    fn null(kind: FileType) -> [Node; 1] {
        [Node { name: "ng0n1".into(), kind, number: (1, 3) }]
    }

    fn host() -> FakeHost {
        let host = FakeHost::new();
        host.process(7, "sshd", &["/dev/zero"]).process(812, "mysqld", &["/dev/tty", "/dev/null"]);
        host.file("proc/uptime", "1 1\n").file("proc/sys/fd/0", "");
        host
    }

    #[test]
    fn a_process_that_has_a_device_file_open_is_named() {
        let found = lasting(&host().root(), &null(FileType::CharacterDevice), || {});
        assert_eq!(found.unwrap(), "ng0n1 is open in process 812 mysqld");
    }

    #[test]
    fn the_same_number_of_another_kind_is_another_device() {
        assert_eq!(lasting(&host().root(), &null(FileType::BlockDevice), || {}), None);
        assert_eq!(lasting(&host().root(), &[], || {}), None);
    }

    #[test]
    fn a_process_that_closes_the_file_soon_is_not_reported() {
        let host = host();
        let gone = || host.remove("proc/812/fd/1");
        assert_eq!(lasting(&host.root(), &null(FileType::CharacterDevice), gone), None);
    }

    #[test]
    fn numbers_are_read_from_the_kernel() {
        let host = host();
        let folder = host.root().path("/sys/class/block/nvme0n1");
        for (text, number) in [("259:12\n", Some((259, 12))), ("259\n", None), ("a:b\n", None), ("", None)] {
            host.file("sys/class/block/nvme0n1/dev", text);
            let node = Node::of(&folder, "nvme0n1", FileType::BlockDevice);
            assert_eq!(node.map(|node| node.number), number, "{text}");
        }
    }
}

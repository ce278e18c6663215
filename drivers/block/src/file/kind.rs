//! Kinds of thing that a path leads to: those that can be served, and names for the others.
//!
//! A thing is examined without opening it, because an open can block (a FIFO) or have side effects (a
//! tape, a terminal, much of /sys).

use super::FileError;
use rustix::fs::{FileType, fstat, fstatfs};
use std::os::fd::OwnedFd;
use std::path::Path;

/// A kind of thing that can be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    File,
    BlockDevice,
}

/// Examines what was opened with `O_PATH`.
///
/// # Errors
/// [`FileError`] with what it is instead.
pub(super) fn kind(path: &Path, node: &OwnedFd) -> Result<Kind, FileError> {
    let failed = |errno: rustix::io::Errno| FileError::of_open(path, errno.into());
    let other = |kind| FileError::Kind { path: path.to_owned(), kind };
    let stat = fstat(node).map_err(failed)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => Ok(Kind::BlockDevice),
        FileType::RegularFile => {
            let magic = fstatfs(node).map_err(failed)?.f_type;
            // File systems have 32 bits of it; the field is wider, and signed.
            let known = STORELESS.iter().find(|(number, _)| i64::from(*number) == magic & 0xffff_ffff);
            known.map_or(Ok(Kind::File), |(_, name)| Err(other(name)))
        }
        FileType::Directory => Err(FileError::Directory { path: path.to_owned() }),
        FileType::Fifo => Err(other("a FIFO")),
        FileType::Socket => Err(other("a socket")),
        FileType::CharacterDevice => Err(other("a character device")),
        FileType::Symlink | FileType::Unknown => Err(other("of no kind that is known")),
    }
}

/// File systems whose regular files store no data, or not what is written, by the number that
/// `statfs` has for them (linux/magic.h). A memfd is a file of tmpfs, which stores data.
const STORELESS: &[(u32, &str)] = &[
    (0x0000_9fa0, "a file of procfs"),
    (0x6265_6572, "a file of sysfs"),
    (0x6462_6720, "a file of debugfs"),
    (0x7472_6163, "a file of tracefs"),
    (0x0027_e0eb, "a file of cgroup"),
    (0x6367_7270, "a file of cgroup2"),
    (0x6265_6570, "a file of configfs"),
    (0x7363_6673, "a file of securityfs"),
    (0xf97c_ff8c, "a file of selinuxfs"),
    (0x4341_5d53, "a file of smackfs"),
    (0xcafe_4a11, "a file of bpf"),
    (0x6165_676c, "a file of pstore"),
    (0xde5e_81e4, "a file of efivarfs"),
    (0x4249_4e4d, "a file of binfmt_misc"),
    (0x6573_5543, "a file of fusectl"),
    (0x6e73_6673, "a namespace"),
    (0x1980_0202, "a POSIX message queue"),
    (0x0765_5821, "a file of resctrl"),
    (0x6e66_7364, "a file of nfsd"),
    (0x6759_6969, "a file of rpc_pipefs"),
    (0xabba_1974, "a file of xenfs"),
    (0x9584_58f6, "a file of hugetlbfs, which cannot be written to"),
    (0x5345_434d, "secret memory, which cannot be read"),
    (0x474d_454d, "guest memory, which cannot be read"),
    (0x444d_4142, "a DMA buffer"),
    (0x0904_1934, "an anonymous file of the kernel"),
    (0x5049_4446, "a process"),
];

//! Memory files: which files are memory, and which descriptors are of the same one.
//!
//! Path: none; files are looked at when a front end announces them.

use rustix::fs::{FileType, OFlags, SealFlags, Stat, fcntl_get_seals, fcntl_getfl, fstat, fstatfs, inotify};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use thiserror::Error;

/// Kernel's numbers of file systems in memory (`statfs`). A memfd is on one of them.
const TMPFS: i64 = 0x0102_1994;
const HUGETLBFS: i64 = 0x9584_58f6;

/// Page size in bytes of memory that is not in hugepages.
const SMALL_PAGE: u64 = 4096;

/// Why a file of a peer is not mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unmappable {
    /// A file that is no memory.
    #[error("a file that is not memory: use a memfd, or a file on tmpfs or hugetlbfs")]
    NotMemory,
    /// Memory that the peer may not write to.
    #[error("memory that is shared for reading only: open its file for reading and writing")]
    ReadOnly,
    /// Memory that nobody may map for writing any more.
    #[error("memory that is sealed against new mappings: seal it after all disks have mapped it")]
    Sealed,
}

/// Page size in bytes of a memory file that may be written to.
///
/// # Errors
/// [`Unmappable`] for other files. Access to pages of a disk, or of a file that another process serves
/// (FUSE), can block for any time.
pub(crate) fn page_bytes(file: impl AsFd) -> Result<u64, Unmappable> {
    let page = memory_page_bytes(&file).ok_or(Unmappable::NotMemory)?;
    let access = fcntl_getfl(&file).unwrap_or(OFlags::empty()) & OFlags::RWMODE;
    let is_sealed = fcntl_get_seals(&file)
        .is_ok_and(|seals| seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE));
    match access {
        OFlags::RDWR if is_sealed => Err(Unmappable::Sealed),
        OFlags::RDWR => Ok(page),
        _ => Err(Unmappable::ReadOnly),
    }
}

/// Page size in bytes of a memory file; none for other files.
fn memory_page_bytes(file: impl AsFd) -> Option<u64> {
    // The kernel's device files are on a tmpfs, too.
    if FileType::from_raw_mode(fstat(&file).ok()?.st_mode) != FileType::RegularFile {
        return None;
    }
    let system = fstatfs(file).ok()?;
    match system.f_type {
        TMPFS => Some(SMALL_PAGE),
        HUGETLBFS => u64::try_from(system.f_bsize).ok(),
        _ => None,
    }
}

/// A memory file that is kept open, to be recognised when somebody announces it again.
#[derive(Debug)]
pub(crate) struct KnownFile {
    file: Arc<OwnedFd>,
    number: FileNumber,
}

/// Number of a file in the kernel's tables. Two files on tmpfs or hugetlbfs may have the same: numbers
/// of 32 bits are given out by a counter that wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileNumber {
    device: u64,
    inode: u64,
}

impl FileNumber {
    /// Number of an open file.
    pub fn of(file: impl AsFd) -> rustix::io::Result<Self> {
        let Stat { st_dev, st_ino, .. } = fstat(file)?;
        Ok(Self { device: st_dev, inode: st_ino })
    }
}

impl KnownFile {
    /// Keeps an open file open.
    pub fn new(file: Arc<OwnedFd>) -> rustix::io::Result<Self> {
        Ok(Self { number: FileNumber::of(&file)?, file })
    }

    /// Number of the file.
    pub fn number(&self) -> FileNumber {
        self.number
    }

    /// Bytes, of `len`, without a page that will come from the host's free memory.
    pub fn missing_bytes(&self, len: u64) -> rustix::io::Result<u64> {
        let Stat { st_blocks, .. } = fstat(&self.file)?;
        let there = st_blocks.cast_unsigned().saturating_mul(512);
        let is_small = memory_page_bytes(&self.file) == Some(SMALL_PAGE);
        Ok(if is_small { len.saturating_sub(there) } else { 0 })
    }

    /// Whether `other` keeps this file open, too.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.is(&other.file, other.number)
    }

    /// Whether `other`, whose number is `number`, is a descriptor of this file.
    pub fn is(&self, other: impl AsFd, number: FileNumber) -> bool {
        self.number == number && is_same(&self.file, other)
    }
}

/// Whether two descriptors are of one file; false where the kernel does not tell. An inotify instance has
/// one watch for a file, however often it is added: nothing else that the kernel tells of files on
/// hugetlbfs is a proof.
fn is_same(a: impl AsFd, b: impl AsFd) -> bool {
    let watches = inotify::init(inotify::CreateFlags::CLOEXEC)
        .and_then(|instance| Ok((watch(&instance, a.as_fd())?, watch(&instance, b.as_fd())?)));
    watches.is_ok_and(|(a, b)| a == b)
}

/// Number of the watch of a file.
fn watch(instance: &OwnedFd, file: BorrowedFd<'_>) -> rustix::io::Result<i32> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    inotify::add_watch(instance, path, inotify::WatchFlags::MOVE_SELF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, Mode, memfd_create, open};

    fn file(flags: MemfdFlags) -> OwnedFd {
        memfd_create("memory", MemfdFlags::CLOEXEC | flags).unwrap()
    }

    fn reopened(file: &OwnedFd, access: OFlags) -> OwnedFd {
        open(format!("/proc/self/fd/{}", file.as_raw_fd()), access | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn a_file_is_recognised_by_all_its_descriptors_and_no_other_file_is() {
        for flags in [MemfdFlags::empty(), MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB] {
            let (ours, other) = (Arc::new(file(flags)), file(flags));
            let known = KnownFile::new(ours.clone()).unwrap();
            let again = reopened(&ours, OFlags::RDWR);
            assert!(known.is(&ours, known.number));
            assert!(known.is(&again, FileNumber::of(&again).unwrap()));
            assert!(!known.is(&other, FileNumber::of(&other).unwrap()));
            assert!(!known.is(&other, known.number), "a file with the same number");
        }
    }

    #[test]
    fn memory_that_may_not_be_written_to_is_not_mapped() {
        let ours = file(MemfdFlags::ALLOW_SEALING);
        assert_eq!(page_bytes(&ours), Ok(4096));
        assert_eq!(page_bytes(reopened(&ours, OFlags::RDONLY)), Err(Unmappable::ReadOnly));
        rustix::fs::fcntl_add_seals(&ours, SealFlags::WRITE).unwrap();
        assert_eq!(page_bytes(&ours), Err(Unmappable::Sealed));
    }

    #[test]
    fn a_file_that_is_no_memory_is_not_mapped() {
        for path in ["/proc/self/exe", "/dev/zero", "/dev/shm"] {
            let file = open(path, OFlags::CLOEXEC, Mode::empty()).unwrap();
            assert_eq!(page_bytes(file), Err(Unmappable::NotMemory), "{path}");
        }
    }
}

//! Memory files: which files are memory, and which descriptors are of the same one.
//!
//! Path: none; files are looked at when a front end announces them.

use rustix::fs::{FileType, OFlags, SealFlags, Stat, fcntl_get_seals, fcntl_getfl, fstat, fstatfs, inotify};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// Memory without a file.
    #[error("memory that is not shared: back it with a memfd, or a file on tmpfs or hugetlbfs (share=on)")]
    NotShared,
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
    // Dropped before the file.
    watch: Option<FileWatch>,
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
        let (number, watch) = (FileNumber::of(&file)?, FileWatch::new(&file));
        Ok(Self { watch, file, number })
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

    /// Whether `other`, whose number is `number`, is a descriptor of this file; false where the kernel does not
    /// tell.
    pub fn is(&self, other: impl AsFd, number: FileNumber) -> bool {
        let is_same = |watch: &FileWatch| FileWatch::new(other).is_some_and(|other| other.0 == watch.0);
        self.number == number && self.watch.as_ref().is_some_and(is_same)
    }
}

/// Watch of a file, by its number in the inotify instance of the process. An instance has one watch for a file,
/// however often it is added: nothing else that the kernel tells of files on hugetlbfs is a proof. There is one
/// instance, because closing one takes milliseconds.
#[derive(Debug)]
struct FileWatch(i32);

static WATCHES: Mutex<Watches> = Mutex::new(Watches { instance: None, uses: BTreeMap::new() });

/// The inotify instance of the process, and how often each of its watches is in use.
struct Watches {
    instance: Option<OwnedFd>,
    uses: BTreeMap<i32, usize>,
}

impl FileWatch {
    /// Watches a file; none where the kernel refuses.
    fn new(file: impl AsFd) -> Option<Self> {
        let mut watches = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
        let number = watches.add(file.as_fd()).ok()?;
        *watches.uses.entry(number).or_default() += 1;
        Some(Self(number))
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        WATCHES.lock().unwrap_or_else(PoisonError::into_inner).release(self.0);
    }
}

impl Watches {
    fn add(&mut self, file: BorrowedFd<'_>) -> rustix::io::Result<i32> {
        let instance = match self.instance.take() {
            Some(instance) => instance,
            None => inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?,
        };
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        inotify::add_watch(self.instance.insert(instance), path, inotify::WatchFlags::MOVE_SELF)
    }

    fn release(&mut self, number: i32) {
        let left = self.uses.get(&number).copied().unwrap_or(1).saturating_sub(1);
        if left > 0 {
            self.uses.insert(number, left);
            return;
        }
        self.uses.remove(&number);
        let Some(instance) = &self.instance else { return };
        // It fails only if the file is gone.
        let _ = inotify::remove_watch(instance, number);
        // The events that tell of removals are of no use, but the kernel would keep many of them.
        let _ = rustix::io::read(instance, &mut [0; 1024]);
    }
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

//! Target of a file device: an open, locked file or block device, and its abilities.

use super::access::{Access, Caching};
use super::error::FileError;
use super::kind::{Kind, kind};
use crate::{Blocks, Geometry, OperationLimits, Shape, ShapeError};
use rustix::fs::{AtFlags, FallocateFlags, FlockOperation, Mode, OFlags, Stat, StatxFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Longest read or write in bytes.
const fn transfer_bytes_max(caching: Caching) -> u32 {
    match caching {
        Caching::Direct | Caching::Buffered => 1 << 20,
        // The core does it: some microseconds.
        Caching::Memory => 64 << 10,
    }
}

/// Bytes of long requests that a core submits in a turn.
const fn turn_bytes_max(caching: Caching) -> u32 {
    match caching {
        Caching::Direct | Caching::Buffered => u32::MAX,
        // The core does it. Shorter ones would be system calls more than copies.
        Caching::Memory => 16 << 10,
    }
}

/// One read or write may be in this many pieces of memory.
pub(super) const SPANS_MAX: u16 = 256;

/// One discard or write of zeroes may be this long, in bytes.
const fn range_bytes_max(caching: Caching) -> u32 {
    match caching {
        // A thread of the kernel does it.
        Caching::Direct | Caching::Buffered => 1 << 30,
        // The core does it.
        Caching::Memory => 1 << 20,
    }
}

/// The alignment we have without asking: that of a page.
const PAGE_BYTES: u32 = 4096;

/// Alignment that direct I/O asks of a request's memory, in bytes (`statx`, `STATX_DIOALIGN`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Alignment {
    /// Addresses of pieces of memory are multiples of this.
    pub memory_bytes: u32,
    /// Places in the file, and the lengths of pieces of memory, are multiples of this.
    pub offset_bytes: u32,
}

/// An open, locked file or block device.
#[derive(Debug)]
pub(super) struct Target {
    file: OwnedFd,
    path: PathBuf,
    kind: Kind,
    /// Geometry at first.
    geometry: Geometry,
    blocks: AtomicU64,
    direct: Option<Alignment>,
    caching: Caching,
}

impl Target {
    /// Opens and locks what is at `path`, and finds out what it can do. `block_bytes` of
    /// `None` stands for the block device's own, or for 512 where it is a file.
    pub fn open(path: &Path, block_bytes: Option<u32>, access: Access) -> Result<Self, FileError> {
        let system = |action| {
            move |error: rustix::io::Errno| FileError::System {
                action,
                path: path.to_owned(),
                source: error.into(),
            }
        };
        let (file, kind) = open_released(path, access)?;
        let shape = shape(path, &file, kind, block_bytes)?;
        let direct = alignment(&file).filter(|direct| direct.offset_bytes <= shape.block_bytes());
        let caching = match direct {
            _ if is_memory(&file, kind) => Caching::Memory,
            Some(_) => Caching::Direct,
            None => Caching::Buffered,
        };
        let direct = direct.filter(|_| caching == Caching::Direct);
        // This also takes away O_NONBLOCK, with which the kernel would fail what has to wait.
        let flags = if direct.is_some() { OFlags::DIRECT } else { OFlags::empty() };
        rustix::fs::fcntl_setfl(&file, flags).map_err(system("set the caching of"))?;
        let punches = access == Access::ReadWrite && can_punch(&file, kind, shape);
        let stat = rustix::fs::fstat(&file).map_err(system("examine"))?;
        let possible = geometry(shape, access, caching, &stat);
        let discard_blocks_max = if punches { possible.discard_blocks_max } else { 0 };
        let geometry = Geometry { discard_blocks_max, ..possible };
        let blocks = AtomicU64::new(geometry.blocks.0);
        Ok(Self { file, path: path.to_owned(), kind, geometry, blocks, direct, caching })
    }

    /// Number of blocks that it has now.
    ///
    /// # Errors
    /// [`FileError`] where it has no whole blocks.
    pub fn measure(&self) -> Result<Blocks, FileError> {
        let shape = shape(&self.path, &self.file, self.kind, Some(self.geometry.block_bytes))?;
        Ok(shape.blocks())
    }

    pub fn set_blocks(&self, blocks: Blocks) {
        self.blocks.store(blocks.0, Relaxed);
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn geometry(&self) -> Geometry {
        Geometry { blocks: Blocks(self.blocks.load(Relaxed)), ..self.geometry }
    }

    /// Alignment for direct I/O; none where the page cache is used.
    pub fn direct(&self) -> Option<Alignment> {
        self.direct
    }

    pub fn caching(&self) -> Caching {
        self.caching
    }
}

impl Drop for Target {
    /// The kernel may keep the file open a moment longer than its last request: whoever opens
    /// it next is not to see that.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Time for which a file that is in use is waited for, and the time between two looks.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);
const RELEASE_LOOK: Duration = Duration::from_millis(5);

/// Opens a file that may still be held by the last requests of a process that was killed. They keep its
/// lock until they end, and nobody else writes the file before.
fn open_released(path: &Path, access: Access) -> Result<(OwnedFd, Kind), FileError> {
    let end = Instant::now() + RELEASE_LIMIT;
    loop {
        match open_locked(path, access) {
            Err(FileError::InUse { .. }) if Instant::now() < end => std::thread::sleep(RELEASE_LOOK),
            outcome => return outcome,
        }
    }
}

/// Opens what a path leads to, once it is known to be something that opening does no harm to. It is
/// the very thing that was looked at, whatever the path leads to by then.
fn open_locked(path: &Path, access: Access) -> Result<(OwnedFd, Kind), FileError> {
    let failed = |error: rustix::io::Errno| FileError::of_open(path, error.into());
    let node = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let kind = kind(path, &node)?;
    let mode = match access {
        Access::ReadWrite => OFlags::RDWR,
        Access::ReadOnly => OFlags::RDONLY,
    };
    // For block devices O_EXCL means: not while the kernel or anybody else has claimed it.
    let claim = if kind == Kind::BlockDevice { OFlags::EXCL } else { OFlags::empty() };
    let flags = mode | claim | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let same = format!("/proc/self/fd/{}", node.as_raw_fd());
    let file = rustix::fs::open(same, flags, Mode::empty()).map_err(failed)?;
    lock(path, &file, access)?;
    Ok((file, kind))
}

/// One writer, or any number of readers. It goes when the file is closed, however that comes.
fn lock(path: &Path, file: &OwnedFd, access: Access) -> Result<(), FileError> {
    let operation = match access {
        Access::ReadWrite => FlockOperation::NonBlockingLockExclusive,
        Access::ReadOnly => FlockOperation::NonBlockingLockShared,
    };
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(FileError::InUse { path: path.to_owned() }),
        Err(error) => Err(FileError::System { action: "lock", path: path.to_owned(), source: error.into() }),
    }
}

/// The size in blocks, of the block size asked for.
fn shape(path: &Path, file: &OwnedFd, kind: Kind, block_bytes: Option<u32>) -> Result<Shape, FileError> {
    let system = |error: rustix::io::Errno| FileError::System {
        action: "measure",
        path: path.to_owned(),
        source: error.into(),
    };
    let least = match kind {
        Kind::File => 512,
        Kind::BlockDevice => rustix::fs::ioctl_blksszget(file).map_err(system)?,
    };
    let block_bytes = block_bytes.unwrap_or(least);
    let path = path.to_owned();
    if block_bytes < least {
        return Err(FileError::BlockBytes { path, block_bytes, least });
    }
    let bytes = rustix::fs::seek(file, rustix::fs::SeekFrom::End(0)).map_err(system)?;
    let size = FileError::Size { path: path.clone(), bytes, block_bytes };
    if !bytes.is_multiple_of(u64::from(block_bytes.max(1))) {
        return Err(size);
    }
    Shape::new(block_bytes, Blocks(bytes / u64::from(block_bytes.max(1)))).map_err(|error| match error {
        ShapeError::BlockBytes { .. } => FileError::BlockBytes { path, block_bytes, least },
        ShapeError::Blocks { .. } => size,
    })
}

/// Whether it is a file in memory. A block device is none, though its name may be in a tmpfs.
fn is_memory(file: &OwnedFd, kind: Kind) -> bool {
    kind == Kind::File && rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type == libc::TMPFS_MAGIC)
}

/// Alignment for direct I/O, where the file system says that it can.
fn alignment(file: &OwnedFd) -> Option<Alignment> {
    let stat = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
    let says = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::DIOALIGN);
    let alignment =
        Alignment { memory_bytes: stat.stx_dio_mem_align, offset_bytes: stat.stx_dio_offset_align };
    let usable = 1..=PAGE_BYTES;
    (says && usable.contains(&alignment.memory_bytes) && usable.contains(&alignment.offset_bytes))
        .then_some(alignment)
}

/// Whether holes can be made. Files are asked by making one where there is nothing, past
/// the end; block devices say in sysfs whether they can.
fn can_punch(file: &OwnedFd, kind: Kind, shape: Shape) -> bool {
    match kind {
        Kind::File => {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(file, flags, shape.bytes(), u64::from(shape.block_bytes())).is_ok()
        }
        Kind::BlockDevice => rustix::fs::fstat(file).is_ok_and(|stat| zeroes_are_offloaded(stat.st_rdev)),
    }
}

/// Whether a block device, or the disk that it is a partition of, can zero blocks by itself.
fn zeroes_are_offloaded(device: u64) -> bool {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    ["queue", "../queue"].iter().any(|queue| {
        let path = format!("/sys/dev/block/{major}:{minor}/{queue}/write_zeroes_max_bytes");
        std::fs::read_to_string(path).is_ok_and(|text| text.trim().parse::<u64>().is_ok_and(|most| most > 0))
    })
}

/// Geometry of a file in which holes can be made.
fn geometry(shape: Shape, access: Access, caching: Caching, stat: &Stat) -> Geometry {
    let range = range_bytes_max(caching) / shape.block_bytes();
    let writable = access == Access::ReadWrite;
    let optimal = u32::try_from(stat.st_blksize).unwrap_or(PAGE_BYTES) / shape.block_bytes();
    Geometry {
        spans_max: SPANS_MAX,
        discard_blocks_max: range,
        write_zeroes_blocks_max: if writable { range } else { 0 },
        optimal_blocks: optimal.max(1),
        operations: OperationLimits::NONE,
        volatile_cache: caching != Caching::Memory,
        read_only: !writable,
        turn_blocks_max: shape.blocks_of(turn_bytes_max(caching)),
        ..shape.geometry(transfer_bytes_max(caching))
    }
}

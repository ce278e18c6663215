//! File device: refusals to open, and requests at the edges of what the kernel does.

#![expect(unsafe_code, reason = "spans of this test's own memory")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod desk;

use desk::{Desk, read};
use luge_block::{Access, Caching, Device, Durability, FileDevice, FileError, Operation, Status};
use luge_memory::{DmaSpace, Iova, Mapping, Span};
use luge_skip::skip;
use rustix::fs::{MemfdFlags, SealFlags, ftruncate, memfd_create};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

fn file_in(folder: &str, len: u64) -> NamedTempFile {
    let file = NamedTempFile::new_in(folder).unwrap();
    file.as_file().set_len(len).unwrap();
    file
}

/// Creates a file on a disk.
fn file(len: u64) -> NamedTempFile {
    file_in(env!("CARGO_TARGET_TMPDIR"), len)
}

/// Creates a file of each kind that is served differently: on a disk, and in memory.
fn files(len: u64) -> [NamedTempFile; 2] {
    [file(len), file_in("/dev/shm", len)]
}

fn open(path: &Path) -> Result<FileDevice, FileError> {
    FileDevice::open(path, Some(512), Access::ReadWrite)
}

const WRITE: Operation = Operation::Write(Durability::Media);

#[test]
fn what_cannot_be_served_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    let (odd, empty) = (file(1000), file(0));
    for (path, sentence) in [
        (&folder.path().join("none"), "does not exist: create it first"),
        (&folder.path().to_owned(), "is a directory"),
        (&pipe, "neither a file nor a block device"),
        (&PathBuf::from("/dev/null"), "neither a file nor a block device"),
        (&odd.path().to_owned(), "has 1000 bytes, which is not one or more whole blocks of 512"),
        (&empty.path().to_owned(), "has 0 bytes"),
    ] {
        let error = open(path).unwrap_err().to_string();
        assert!(error.contains(sentence) && error.contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn what_stores_no_data_is_refused_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    let [pipe, socket, link] = ["pipe", "socket", "link"].map(|name| folder.path().join(name));
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    std::os::unix::fs::symlink("/sys/kernel/profiling", &link).unwrap();
    let hugepages = memfd_create("huge", MemfdFlags::HUGETLB).unwrap();
    for (path, kind) in [
        (folder.path().to_owned(), "a directory"),
        (pipe, "a FIFO"),
        (socket, "a socket"),
        (PathBuf::from("/dev/null"), "a character device"),
        (PathBuf::from("/dev/tty"), "a character device"),
        (PathBuf::from("/sys/kernel/uevent_seqnum"), "a file of sysfs"),
        (link, "a file of sysfs"),
        (PathBuf::from("/proc/version"), "a file of procfs"),
        (PathBuf::from("/proc/self/mem"), "a file of procfs"),
        (PathBuf::from("/proc/self/ns/net"), "a namespace"),
        (by_descriptor(&hugepages), "a file of hugetlbfs"),
    ] {
        for access in [Access::ReadWrite, Access::ReadOnly] {
            let error = FileDevice::open(&path, Some(512), access).unwrap_err().to_string();
            let sentence = format!("{} is {kind}", path.display());
            assert!(error.starts_with(&sentence), "{error}");
            assert!(error.contains("block device") && error.contains("name"), "{error}");
        }
    }
}

#[test]
fn a_file_of_4096_bytes_in_sysfs_is_no_disk() {
    let sysfs = files_below(Path::new("/sys/kernel"), 3).into_iter();
    let pages = sysfs.filter(|path| std::fs::metadata(path).is_ok_and(|file| file.len() == 4096));
    let mut tried = 0;
    for path in pages.take(200) {
        let error = FileDevice::open(&path, None, Access::ReadOnly).unwrap_err();
        assert!(matches!(error, FileError::Kind { .. }), "{error}");
        tried += 1;
    }
    assert!(tried > 0, "there is nothing of 4096 bytes in /sys/kernel");
}

/// Regular files of a folder and of those below, down to `levels`.
fn files_below(folder: &Path, levels: u32) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let below = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() && levels > 0 => files_below(&entry.path(), levels - 1),
        Ok(kind) if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    };
    entries.flat_map(below).collect()
}

#[test]
fn a_memfd_is_a_file_like_any_other() {
    let memory = memfd_create("disk", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&memory, 1 << 20).unwrap();
    let device = open(&by_descriptor(&memory)).unwrap();
    assert_eq!(device.geometry().blocks.0, 2048);
    assert_eq!(device.caching(), Caching::Memory);
}

/// Path that leads to an open file.
fn by_descriptor(file: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[test]
fn block_sizes_that_cannot_be_are_refused() {
    let file = file(1 << 20);
    for block_bytes in [0, 1, 511, 513, 128 << 10] {
        let result = FileDevice::open(file.path(), Some(block_bytes), Access::ReadWrite);
        assert!(
            matches!(result, Err(FileError::BlockBytes { .. } | FileError::Size { .. })),
            "{block_bytes}"
        );
    }
    let device = FileDevice::open(file.path(), None, Access::ReadWrite).unwrap();
    assert_eq!(device.geometry().block_bytes, 512);
    assert_eq!(device.geometry().bytes(), 1 << 20);
}

#[test]
fn a_file_has_one_writer_or_many_readers() {
    let file = file(4096);
    let read_only = || FileDevice::open(file.path(), None, Access::ReadOnly);
    let writer = open(file.path()).unwrap();
    assert!(matches!(open(file.path()), Err(FileError::InUse { .. })));
    assert!(matches!(read_only(), Err(FileError::InUse { .. })));
    drop(writer);
    let readers = (read_only().unwrap(), read_only().unwrap());
    assert!(matches!(open(file.path()), Err(FileError::InUse { .. })));
    drop(readers);
    open(file.path()).unwrap();
}

#[test]
fn a_file_that_is_released_a_moment_later_is_opened() {
    let file = file(4096);
    let writer = open(file.path()).unwrap();
    std::thread::scope(|threads| {
        let next = threads.spawn(|| open(file.path()).map(drop));
        // Long enough that the other one finds it locked, nearly always.
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(writer);
        next.join().unwrap().unwrap();
    });
}

#[test]
fn a_file_that_was_refused_is_not_locked() {
    let file = file(1000);
    open(file.path()).unwrap_err();
    file.as_file().set_len(1024).unwrap();
    open(file.path()).unwrap();
}

#[test]
fn a_channel_keeps_the_file_locked_after_its_device_is_gone() {
    for file in files(4096) {
        let desk = Desk::new(&open(file.path()).unwrap());
        assert!(matches!(open(file.path()), Err(FileError::InUse { .. })));
        drop(desk);
        open(file.path()).unwrap();
    }
}

#[test]
fn a_read_only_file_is_read_and_refuses_every_change() {
    for file in files(4096) {
        file.as_file().write_all_at(&[7; 4096], 0).unwrap();
        let device = FileDevice::open(file.path(), None, Access::ReadOnly).unwrap();
        assert!(device.geometry().read_only);
        luge_block::doubles::check_device(1, &device, &DmaSpace::new());
        assert_eq!(std::fs::read(file.path()).unwrap(), [7; 4096]);
    }
}

#[test]
fn what_is_written_is_in_the_file() {
    for file in files(1 << 20) {
        let mut desk = Desk::new(&open(file.path()).unwrap());
        desk.span(0, 1024).fill(0xa5);
        assert_eq!(desk.run(WRITE, 3..5, &[desk.span(0, 1024)]), Status::Success);
        let content = std::fs::read(file.path()).unwrap();
        assert!(content[3 * 512..5 * 512].iter().all(|&byte| byte == 0xa5));
        assert_eq!(content.iter().filter(|&&byte| byte != 0).count(), 1024);
    }
}

#[test]
fn only_memory_that_direct_io_cannot_take_is_copied_and_counted() {
    let file = file(1 << 20);
    let device = open(file.path()).unwrap();
    if device.caching() == Caching::Buffered {
        return skip("this file system says nothing of direct I/O: build on ext4 or XFS");
    }
    let mut desk = Desk::new(&device);
    assert_eq!(desk.run(WRITE, 0..8, &[desk.span(4096, 4096)]), Status::Success);
    assert_eq!(device.bounced(), 0);
    // Longer than a buffer, so it goes in several pieces.
    desk.span(0, 1 << 19).fill(0x5a);
    let odd = [desk.span(1, 7), desk.span(9, 800 * 512 - 7)];
    assert_eq!(desk.run(WRITE, 8..808, &odd), Status::Success);
    assert_eq!(device.bounced(), 1);
    let content = std::fs::read(file.path()).unwrap();
    assert_eq!(content.iter().rposition(|&byte| byte == 0x5a), Some(808 * 512 - 1));
    desk.span(0, 1 << 19).fill(0);
    assert_eq!(desk.run(Operation::Read, 8..808, &odd), Status::Success);
    assert!(odd.iter().all(|&span| read(span).iter().all(|&byte| byte == 0x5a)));
}

#[test]
fn a_dropped_channel_has_finished_all_that_it_took() {
    for file in files(1 << 20) {
        file.as_file().write_all_at(&[0xc3; 1 << 16], 0).unwrap();
        let mut desk = Desk::new(&open(file.path()).unwrap());
        let room = u16::try_from(desk.channel.room()).unwrap();
        for slot in 0..room {
            // Half of them aligned, half of them not; some started, some not.
            let at = u64::from(slot) * 1024 + u64::from(slot % 2);
            let block = u64::from(slot % 64);
            desk.submit(slot, Operation::Read, block..block + 1, &[desk.span(at, 512)]);
            if slot == room / 2 {
                desk.channel.commit();
            }
        }
        let Desk { channel, memory } = desk;
        drop(channel);
        for slot in 0..u64::from(room) {
            // SAFETY: `memory` is still there.
            let span = unsafe { memory.span(slot * 1024 + slot % 2, 512) }.unwrap();
            assert_eq!(read(span), [0xc3; 512], "request {slot}");
        }
    }
}

#[test]
fn a_channel_outlives_the_thread_that_used_it() {
    for file in files(1 << 20) {
        let desk = Desk::new(&open(file.path()).unwrap());
        let used = std::thread::spawn(move || {
            let mut desk = desk;
            for slot in 0..100 {
                let block = u64::from(slot);
                desk.submit(slot, WRITE, block..block + 1, &[desk.span(block * 512, 512)]);
            }
            desk.channel.commit();
            desk
        });
        drop(used.join().unwrap());
        open(file.path()).unwrap();
    }
}

#[test]
fn a_file_that_has_become_shorter_is_a_media_error() {
    for file in files(1 << 20) {
        let device = open(file.path()).unwrap();
        let mut desk = Desk::new(&device);
        file.as_file().set_len(4096).unwrap();
        let span = desk.span(0, 4096);
        assert_eq!(desk.run(Operation::Read, 0..8, &[span]), Status::Success);
        assert_eq!(desk.run(Operation::Read, 8..16, &[span]), Status::MediaError);
        assert_eq!(desk.run(Operation::Read, 4..12, &[span]), Status::MediaError);
        let (error, count) = device.errors().unwrap().take().unwrap();
        assert_eq!(error.to_string(), format!("read of LBA 8 to 15 failed: {}", error.status));
        assert_eq!(count, 2, "requests that failed");
        assert_eq!(error.status, Status::MediaError);
        assert_eq!(device.errors().unwrap().take(), None);
    }
}

#[test]
fn a_discard_gives_space_back_and_zeroes_may_keep_it() {
    for file in files(1 << 20) {
        file.as_file().write_all_at(&[1; 1 << 20], 0).unwrap();
        file.as_file().sync_all().unwrap();
        let device = open(file.path()).unwrap();
        assert!(device.geometry().discard_blocks_max >= 1024, "every file system we test on can make holes");
        let mut desk = Desk::new(&device);
        let size = || file.as_file().metadata().unwrap().blocks();
        let before = size();
        assert_eq!(desk.run(Operation::WriteZeroes, 0..1024, &[]), Status::Success);
        assert_eq!(size(), before);
        assert_eq!(desk.run(Operation::WriteZeroesUnmap, 1024..1536, &[]), Status::Success);
        let half = size();
        assert_eq!(desk.run(Operation::Discard, 1536..2048, &[]), Status::Success);
        assert!(size() < half && half < before, "{before}, {half}, {}", size());
        assert!(std::fs::read(file.path()).unwrap()[..1536 * 512].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn memory_that_is_no_longer_there_fails_its_request_only() {
    for disk in files(1 << 20) {
        let mut desk = Desk::new(&open(disk.path()).unwrap());
        let guest = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&guest, 8192).unwrap();
        let mapping = Mapping::new(&guest, 0, 8192).unwrap();
        // SAFETY: `mapping` outlives the request.
        let gone = unsafe { Span::new(mapping.host(), Iova(0), 4096) };
        ftruncate(&guest, 0).unwrap();
        assert_eq!(desk.run(Operation::Read, 0..8, &[gone]), Status::Invalid);
        assert_eq!(desk.run(WRITE, 0..8, &[gone]), Status::Invalid);
        assert_eq!(desk.run(Operation::Read, 0..8, &[desk.span(0, 4096)]), Status::Success);
    }
}

#[test]
fn a_file_that_is_sealed_while_it_is_served_is_write_protected() {
    let memory = memfd_create("disk", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&memory, 8192).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
    let mut desk = Desk::new(&open(&path).unwrap());
    assert_eq!(desk.run(WRITE, 0..8, &[desk.span(0, 4096)]), Status::Success);
    rustix::fs::fcntl_add_seals(&memory, SealFlags::WRITE).unwrap();
    assert_eq!(desk.run(WRITE, 0..8, &[desk.span(0, 4096)]), Status::WriteProtected);
    assert_eq!(desk.run(Operation::Read, 0..8, &[desk.span(0, 4096)]), Status::Success);
}

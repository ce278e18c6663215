//! Files in memory (tmpfs), which are served without io_uring.

#![expect(unsafe_code, reason = "a filter of system calls")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod desk;

use desk::{Desk, read};
use luge_block::{
    Access, Blocks, Caching, Completions, Device, Durability, FileDevice, FileError, MemoryDevice, Operation,
    Shape, Status,
};
use luge_memory::{DmaSpace, PageSize, Span};
use luge_skip::skip;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use tempfile::{NamedTempFile, TempDir};

const WRITE: Operation = Operation::Write(Durability::Cache);

fn sparse(folder: &Path, len: u64) -> (FileDevice, NamedTempFile) {
    let file = NamedTempFile::new_in(folder).unwrap();
    file.as_file().set_len(len).unwrap();
    (FileDevice::open(file.path(), Some(512), Access::ReadWrite).unwrap(), file)
}

/// Makes the kernel refuse io_uring to this thread from now on.
fn forbid_io_uring() {
    // SAFETY: it takes rights away from this thread, and no memory is named.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // The number of the system call is the first word that a filter sees.
    let mut steps = [
        step(0x20, 0, 0, 0),
        step(0x15, 0, 1, u32::try_from(libc::SYS_io_uring_setup).unwrap()),
        step(0x06, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned()),
        step(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
    // SAFETY: the program and its four steps live during the call, which copies them.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(set, 0);
}

#[test]
fn a_file_in_memory_is_served_where_io_uring_is_forbidden() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let on_disk = NamedTempFile::new_in(folder).unwrap();
    on_disk.as_file().set_len(4096).unwrap();
    let checked = std::thread::spawn(move || {
        forbid_io_uring();
        let refused = FileDevice::open(on_disk.path(), Some(512), Access::ReadWrite).unwrap_err();
        assert!(matches!(refused, FileError::IoUring { .. }), "{refused}");
        let (device, _file) = sparse(Path::new("/dev/shm"), 1 << 20);
        assert_eq!(device.caching(), Caching::Memory);
        luge_block::doubles::check_device(1, &device, &DmaSpace::new());
    });
    checked.join().unwrap();
}

#[test]
fn a_request_of_a_file_in_memory_has_ended_when_it_is_committed() {
    let (device, _file) = sparse(Path::new("/dev/shm"), 1 << 20);
    let mut desk = Desk::new(&device);
    let data = [desk.span(0, 4096), desk.span(8192, 4096)];
    for (slot, operation) in (0..).zip([WRITE, Operation::Read]) {
        desk.submit(slot, operation, 8..24, &data);
    }
    for (slot, operation) in (2..).zip([Operation::WriteZeroes, Operation::Discard, Operation::Flush]) {
        desk.submit(slot, operation, 0..8, &[]);
    }
    desk.channel.commit();
    desk.channel.poll(&mut Completions::default());
    assert_eq!(desk.channel.in_flight(), 0);
}

#[test]
fn no_request_of_a_file_in_memory_keeps_its_core_for_long() {
    let (device, _file) = sparse(Path::new("/dev/shm"), 1 << 30);
    let geometry = device.geometry();
    assert_eq!(geometry.transfer_blocks_max, 128);
    assert_eq!(geometry.turn_blocks_max, 32);
    assert_eq!(geometry.discard_blocks_max, 2048);
    assert_eq!(geometry.write_zeroes_blocks_max, 2048);
}

/// A block of 512 bytes, in pieces of two.
fn pieces(desk: &Desk) -> Vec<Span> {
    (0..256).map(|piece| desk.span(piece * 8, 2)).collect()
}

#[test]
fn pieces_count_as_blocks_where_the_core_goes_through_them() {
    let (file, _file) = sparse(Path::new("/dev/shm"), 1 << 20);
    let shape = Shape::new(512, Blocks(2048)).unwrap();
    let memory = MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap();
    for device in [&file as &dyn Device, &memory] {
        let mut desk = Desk::new(device);
        let data = pieces(&desk);
        let mut between_polls = 0;
        while desk.channel.room() > 0 {
            desk.submit(0, Operation::Read, 0..1, &data);
            between_polls += data.len();
        }
        // The last request may have begun with room for one piece.
        let most = usize::try_from(device.geometry().transfer_blocks_max).unwrap();
        assert!((most..most + data.len()).contains(&between_polls), "{between_polls} pieces, {most} blocks");
    }
}

/// Numbers of reading and of writing system calls that this thread has made before, and this call reads
/// once; `None` if the kernel does not count.
fn calls() -> Option<[u64; 2]> {
    let mut text = [0; 512];
    let len = File::open("/proc/thread-self/io").ok()?.read(&mut text).ok()?;
    let counts = std::str::from_utf8(&text[..len]).ok()?;
    let count = |name| counts.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
    Some([count("syscr: ")?, count("syscw: ")?])
}

#[test]
fn a_request_of_a_file_in_memory_is_one_call_in_however_many_pieces_its_memory_is() {
    let (device, _file) = sparse(Path::new("/dev/shm"), 1 << 20);
    let mut desk = Desk::new(&device);
    if calls().is_none() {
        return skip("this kernel counts no calls of a thread: use one with CONFIG_TASK_IO_ACCOUNTING");
    }
    for data in [pieces(&desk), vec![desk.span(4096, 512)]] {
        for (operation, expected) in [(WRITE, [0, 1]), (Operation::Read, [1, 0])] {
            let before = calls().unwrap();
            assert_eq!(desk.run(operation, 0..1, &data), Status::Success);
            let after = calls().unwrap();
            assert_eq!([after[0] - before[0] - 1, after[1] - before[1]], expected, "{operation:?}");
        }
    }
}

#[test]
fn a_file_that_ends_in_a_piece_is_read_so_far_and_the_request_fails() {
    let (device, file) = sparse(Path::new("/dev/shm"), 4096);
    let mut desk = Desk::new(&device);
    let data = [0, 1024, 2048, 3072].map(|at| desk.span(at, 1024));
    data.iter().for_each(|piece| piece.fill(7));
    assert_eq!(desk.run(WRITE, 0..8, &data), Status::Success);
    data.iter().for_each(|piece| piece.fill(1));
    file.as_file().set_len(1500).unwrap();
    assert_eq!(desk.run(Operation::Read, 0..8, &data), Status::MediaError);
    assert_eq!(read(desk.span(0, 4096)), [vec![7; 1500], vec![1; 2596]].concat());
}

#[test]
fn reading_a_hole_takes_no_memory() {
    let (device, file) = sparse(Path::new("/dev/shm"), 1 << 20);
    let mut desk = Desk::new(&device);
    let data = [desk.span(0, 1 << 16)];
    data[0].fill(0xee);
    assert_eq!(desk.run(Operation::Read, 0..128, &data), Status::Success);
    assert!(read(data[0]).iter().all(|&byte| byte == 0));
    assert_eq!(file.as_file().metadata().unwrap().blocks(), 0);
}

/// Small tmpfs; dropping it unmounts it.
struct Small(TempDir);

impl Small {
    fn new(bytes: u32) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let options = format!("size={bytes}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path());
        let mounted = mount.status().is_ok_and(|status| status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_file_system_in_memory_is_no_space_and_serves_on() {
    let Some(small) = Small::new(64 << 10) else {
        return skip("no tmpfs can be mounted: run as root");
    };
    let (device, _file) = sparse(small.0.path(), 1 << 20);
    let mut desk = Desk::new(&device);
    let data = [desk.span(0, 1 << 16)];
    data[0].fill(0xa5);
    assert_eq!(desk.run(WRITE, 1920..2048, &data), Status::Success);
    assert_eq!(desk.run(WRITE, 0..128, &data), Status::NoSpace);
    assert_eq!(desk.run(Operation::WriteZeroes, 0..2048, &[]), Status::NoSpace);
    assert_eq!(desk.run(Operation::Discard, 0..2048, &[]), Status::Success);
    assert_eq!(desk.run(WRITE, 0..64, &[desk.span(0, 32 << 10)]), Status::Success);
    assert_eq!(desk.run(Operation::Read, 0..128, &data), Status::Success);
}

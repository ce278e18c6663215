//! Files that are memory (tmpfs): what is different about them.

#![expect(unsafe_code, reason = "a filter of system calls")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod desk;

use desk::{Desk, read};
use luge_block::{
    Access, Caching, Completions, Device, Durability, FileDevice, FileError, Operation, Status,
};
use luge_memory::DmaSpace;
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

/// From now on the kernel gives this thread no io_uring.
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
        desk.submit(slot, operation, (8, 16), &data);
    }
    for (slot, operation) in (2..).zip([Operation::WriteZeroes, Operation::Discard, Operation::Flush]) {
        desk.submit(slot, operation, (0, 8), &[]);
    }
    desk.channel.commit();
    desk.channel.poll(&mut Completions::default());
    assert_eq!(desk.channel.in_flight(), 0);
}

#[test]
fn no_request_of_a_file_in_memory_keeps_its_core_for_long() {
    let (device, _file) = sparse(Path::new("/dev/shm"), 1 << 30);
    let geometry = device.geometry();
    let most = 2048;
    assert_eq!((geometry.transfer_blocks_max, geometry.discard_blocks_max), (most, most));
    assert_eq!(geometry.write_zeroes_blocks_max, most);
}

#[test]
fn reading_a_hole_takes_no_memory() {
    let (device, file) = sparse(Path::new("/dev/shm"), 1 << 20);
    let mut desk = Desk::new(&device);
    let data = [desk.span(0, 1 << 20)];
    data[0].fill(0xee);
    assert_eq!(desk.run(Operation::Read, (0, 2048), &data), Status::Success);
    assert!(read(data[0]).iter().all(|&byte| byte == 0));
    assert_eq!(file.as_file().metadata().unwrap().blocks(), 0);
}

/// A small tmpfs of its own, which is taken away again.
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
        return eprintln!("no file system can be mounted here");
    };
    let (device, _file) = sparse(small.0.path(), 1 << 20);
    let mut desk = Desk::new(&device);
    let data = [desk.span(0, 1 << 20)];
    data[0].fill(0xa5);
    assert_eq!(desk.run(WRITE, (0, 2048), &data), Status::NoSpace);
    assert_eq!(desk.run(Operation::WriteZeroes, (0, 2048), &[]), Status::NoSpace);
    assert_eq!(desk.run(Operation::Discard, (0, 2048), &[]), Status::Success);
    assert_eq!(desk.run(WRITE, (0, 64), &[desk.span(0, 32 << 10)]), Status::Success);
    assert_eq!(desk.run(Operation::Read, (0, 2048), &data), Status::Success);
}

//! Steps of a new process into its sandbox, from clone to exec.
//!
//! ```text
//!            1           2            3           4          5
//!   (clone) ---> alone ---> rooted ---> a user ---> bare ---> (exec)
//! ```
//! 1. it leaves the session and the signals of its parent;
//! 2. it makes its root folder over `/proc`, which every host has, and moves into it; if it keeps its
//!    parent's user, its user namespace is mapped before, which entitles it to do that;
//! 3. if it gets a user of its own, it makes a user namespace, and becomes that user there;
//! 4. it gives up all capabilities, and asks to die with its parent;
//! 5. it keeps the file descriptors that it is given.
//!
//! Invariants
//! - The process makes system calls only. It does not allocate, lock or panic: another thread of its
//!   parent may have held the lock of the allocator.
//! - A step that fails is reported to the parent, and nothing is executed then.

#![expect(unsafe_code, reason = "system calls between clone and exec")]

use super::contents::{Entry, Kind};
use super::report::{Failure, Message, Step};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, open, openat, symlinkat};
use rustix::io::{Errno, FdFlags, fcntl_setfd, write};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, mount_move,
    unmount,
};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{
    Gid, Resource, Rlimit, Signal, Uid, chdir, chroot, pivot_root, set_parent_process_death_signal,
    setrlimit, setsid, umask,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
};
use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// All that the process needs, made by its parent.
pub(super) struct Plan<'a> {
    /// User that the process becomes; `None` if it keeps its parent's.
    pub(super) user: Option<NewUser>,
    pub(super) entries: &'a [Entry],
    pub(super) program: CString,
    /// Arguments, the first of which is the program, and a null pointer.
    pub(super) arguments: Vec<*const c_char>,
    /// Environment, and a null pointer.
    pub(super) environment: Vec<*const c_char>,
    pub(super) input: BorrowedFd<'a>,
    pub(super) output: BorrowedFd<'a>,
    pub(super) descriptors: &'a [BorrowedFd<'a>],
    /// Socket to the parent.
    pub(super) parent: BorrowedFd<'a>,
    /// The parent's end of that socket.
    pub(super) other_end: BorrowedFd<'a>,
}

/// User and groups that a process becomes.
pub(super) struct NewUser {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) groups: Vec<Gid>,
}

/// Enters the sandbox and executes the program. Returns only if that fails.
pub(super) fn enter(plan: &Plan<'_>) -> Failure {
    match steps(plan) {
        Ok(errno) => Failure { step: Step::Execute, entry: 0, errno: errno.raw_os_error() },
        Err(failure) => failure,
    }
}

fn steps(plan: &Plan<'_>) -> Result<Errno, Failure> {
    // SAFETY: the copy of the descriptor in this process is not used again.
    unsafe { rustix::io::close(plan.other_end.as_raw_fd()) };
    leave_session().map_err(at(Step::Session))?;
    if plan.user.is_none() {
        ask_for_map(plan).map_err(at(Step::Map))?;
    }
    let proc = make_root().map_err(at(Step::Root))?;
    for (entry, index) in plan.entries.iter().zip(0..) {
        add(entry).map_err(|errno| Failure { entry: index, ..at(Step::Entry)(errno) })?;
    }
    move_into_root().map_err(at(Step::Move))?;
    if let Some(user) = &plan.user {
        become_user(plan, user)?;
    }
    forbid_user_namespaces(proc.as_fd());
    drop_powers().map_err(at(Step::Powers))?;
    die_with_parent(plan).map_err(at(Step::Parent))?;
    keep_descriptors(plan).map_err(at(Step::Descriptors))?;
    Ok(execute(plan))
}

fn at(step: Step) -> impl Fn(Errno) -> Failure {
    move |errno| Failure { step, entry: 0, errno: errno.raw_os_error() }
}

/// Sends a message to the parent.
pub(super) fn tell(parent: BorrowedFd<'_>, message: Message) -> Result<(), Errno> {
    send(parent, message.words().as_flattened(), SendFlags::NOSIGNAL).map(drop)
}

fn leave_session() -> Result<(), Errno> {
    setsid()?;
    umask(Mode::from_raw_mode(0o022));
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is memory of this function.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set was made by `sigemptyset`; the old one is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: no handler is installed, and the process has one thread.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // A core dump would contain the guest's memory.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
}

/// Waits until the parent has mapped the user namespace.
fn ask_for_map(plan: &Plan<'_>) -> Result<(), Errno> {
    tell(plan.parent, Message::MapMe)?;
    let mut answer = [0_u8; 1];
    match recv(plan.parent, &mut answer, RecvFlags::empty())? {
        (_, 0) => Err(Errno::CONNRESET),
        _ => Ok(()),
    }
}

/// Mounts an empty tmpfs and enters it; returns `/proc`, which it hides.
fn make_root() -> Result<OwnedFd, Errno> {
    // Nothing that is mounted here appears on the host, nor the other way round.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let proc = open(c"/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount(c"tmpfs", c"/proc", c"tmpfs", flags, c"mode=0755,size=1m,nr_inodes=512")?;
    chdir(c"/proc")?;
    Ok(proc)
}

/// Adds an entry to the root folder, which is the current one.
fn add(entry: &Entry) -> Result<(), Errno> {
    let (source, target) = (entry.source.as_c_str(), entry.target.as_c_str());
    let closed = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID;
    match entry.kind {
        Kind::Folder => mkdirat(CWD, target, Mode::from_raw_mode(0o755)),
        Kind::Link => symlinkat(source, CWD, target),
        Kind::Tree => bind(source, target, closed | libc::MOUNT_ATTR_NODEV),
        Kind::File => {
            make_file(target)?;
            bind(source, target, closed | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC)
        }
        Kind::Program => {
            make_file(target)?;
            bind(source, target, closed | libc::MOUNT_ATTR_NODEV)
        }
        Kind::Device => {
            make_file(target)?;
            bind(source, target, closed | libc::MOUNT_ATTR_NOEXEC)
        }
        Kind::Processes => {
            let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount(c"proc", target, c"proc", flags, c"subset=pid")
        }
    }
}

/// Makes an empty file, over which another one is mounted.
fn make_file(target: &CStr) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    openat(CWD, target, flags, Mode::from_raw_mode(0o644)).map(drop)
}

fn bind(source: &CStr, target: &CStr, attributes: u64) -> Result<(), Errno> {
    mount_bind_recursive(source, target)?;
    restrict(target, attributes)
}

/// Adds attributes to a mount and all mounts beneath it.
fn restrict(target: &CStr, attributes: u64) -> Result<(), Errno> {
    let change = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_RECURSIVE;
    // SAFETY: path and structure live during the call, which reads as many bytes of it as it is told.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            target.as_ptr(),
            flags,
            &raw const change,
            size_of_val(&change),
        )
    };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}

/// Error of the last system call that was not made by rustix.
fn last_error() -> Errno {
    std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

/// Makes the current folder the root, without the host's files.
fn move_into_root() -> Result<(), Errno> {
    match pivot_root(c".", c".") {
        // The old root lies on top of the new one.
        Ok(()) => unmount(c".", UnmountFlags::DETACH)?,
        // The kernel's first file system cannot be exchanged, only covered.
        Err(Errno::INVAL) => {
            mount_move(c".", c"/")?;
            chroot(c".")?;
        }
        Err(errno) => return Err(errno),
    }
    chdir(c"/")?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount_remount(c"/", flags, c"")
}

/// Makes a user namespace with one user, and becomes that user.
fn become_user(plan: &Plan<'_>, user: &NewUser) -> Result<(), Failure> {
    set_thread_groups(&user.groups).map_err(at(Step::User))?;
    // SAFETY: the table of file descriptors stays shared with nobody.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }.map_err(at(Step::User))?;
    ask_for_map(plan).map_err(at(Step::Map))?;
    set_thread_res_gid(user.gid, user.gid, user.gid).map_err(at(Step::User))?;
    set_thread_res_uid(user.uid, user.uid, user.uid).map_err(at(Step::User))
}

/// Allows no user namespaces beneath this one, in which the process would have capabilities. Where
/// `/proc/sys` is read-only, as in many containers, QEMU's filter is what remains.
fn forbid_user_namespaces(proc: BorrowedFd<'_>) {
    let limit =
        openat(proc, c"sys/user/max_user_namespaces", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let _ = limit.and_then(|limit| write(limit, b"0"));
}

fn drop_powers() -> Result<(), Errno> {
    for bit in 0..u64::BITS {
        // The kernel knows about forty of them.
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit));
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_no_new_privs(true)
}

/// Asks for a death signal, which a change of users would revoke.
fn die_with_parent(plan: &Plan<'_>) -> Result<(), Errno> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before that call; no signal would arrive then.
    match recv(plan.parent, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Err(Errno::AGAIN) => Ok(()),
        Ok(_) => Err(Errno::PIPE),
        Err(errno) => Err(errno),
    }
}

fn keep_descriptors(plan: &Plan<'_>) -> Result<(), Errno> {
    dup2_stdin(plan.input)?;
    dup2_stdout(plan.output)?;
    dup2_stderr(plan.output)?;
    const FIRST: libc::c_uint = 3;
    let (last, flags) = (libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: the call changes a flag of file descriptors of this process, and no memory.
    if unsafe { libc::syscall(libc::SYS_close_range, FIRST, last, flags) } != 0 {
        return Err(last_error());
    }
    plan.descriptors.iter().try_for_each(|descriptor| fcntl_setfd(descriptor, FdFlags::empty()))
}

fn execute(plan: &Plan<'_>) -> Errno {
    // SAFETY: the strings end with a zero, and the arrays with a null pointer; `plan` keeps them alive.
    unsafe { libc::execve(plan.program.as_ptr(), plan.arguments.as_ptr(), plan.environment.as_ptr()) };
    last_error()
}

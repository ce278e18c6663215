//! Start of a process in a sandbox.

#![expect(unsafe_code, reason = "clone with namespaces")]

use super::contents::{ENVIRONMENT, Entry, NAMESPACES, Need, Sandbox};
use super::inside::{NewUser, Plan, enter, tell};
use super::report::{Failure, Message, Step};
use super::user::User;
use luge_init::{ChildProcess, Reaper};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::{Gid, Pid, Uid};
use std::ffi::{CString, OsString, c_char};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::time::Duration;
use thiserror::Error;

/// Time limit for a step of a process into its sandbox.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// Flag of clone3(2) that puts the child into a cgroup.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Program that runs in a sandbox.
pub(crate) struct Program<'a> {
    pub(crate) path: &'a Path,
    pub(crate) arguments: Vec<OsString>,
    /// File descriptors that it has besides the standard ones, with the numbers that they have here.
    pub(crate) descriptors: Vec<BorrowedFd<'a>>,
}

/// Error of starting a process in a sandbox.
#[derive(Debug, Error)]
pub(crate) enum SandboxError {
    #[error("the kernel has no {0} namespaces: use a kernel that has them")]
    Namespaces(&'static str),
    #[error(
        "namespaces are refused: {0}; run Luge as root with CAP_SYS_ADMIN, or allow user namespaces \
         (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)"
    )]
    Clone(io::Error),
    #[error(
        "user {uid} cannot be mapped: {source}; choose users that exist in Luge's own namespace (--vm-users)"
    )]
    Map { uid: u32, source: io::Error },
    #[error("{what}: {source}")]
    Step { what: String, source: io::Error },
    #[error(transparent)]
    System(#[from] io::Error),
}

impl SandboxError {
    /// Whether this machine allows no sandbox at all.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Clone(_) | Self::Namespaces(_))
    }
}

/// Starts a program in a sandbox. Its output goes to `output`; it dies with the calling thread.
pub(crate) fn start(
    program: &Program<'_>,
    sandbox: &Sandbox,
    output: BorrowedFd<'_>,
    reaper: &Reaper,
) -> Result<ChildProcess, SandboxError> {
    let input = fs::File::open("/dev/null")?;
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.map_err(io::Error::from)?;
    set_socket_timeout(&ours, Timeout::Recv, Some(STEP_TIMEOUT)).map_err(io::Error::from)?;
    let words = command_line(program)?;
    let plan = Plan {
        user: new_user(sandbox),
        entries: &sandbox.entries,
        program: text(program.path.as_os_str())?,
        arguments: pointers(words.iter().map(|word| word.as_ptr())),
        environment: pointers([ENVIRONMENT.as_ptr()].into_iter()),
        input: input.as_fd(),
        output,
        descriptors: &program.descriptors,
        parent: theirs.as_fd(),
        other_end: ours.as_fd(),
    };
    let flags = flags(sandbox.user)?;
    let cgroup = sandbox.cgroup.as_ref().map(AsFd::as_fd);
    let process = reaper.spawn_with(|| clone(&plan, flags, cgroup)).map_err(SandboxError::Clone)?;
    drop(theirs);
    // An error drops the process, which kills it.
    lead(&ours, &process, sandbox)?;
    Ok(process)
}

fn text(word: &std::ffi::OsStr) -> io::Result<CString> {
    Ok(CString::new(word.as_bytes())?)
}

fn command_line(program: &Program<'_>) -> io::Result<Vec<CString>> {
    let words = std::iter::once(program.path.as_os_str());
    words.chain(program.arguments.iter().map(OsString::as_os_str)).map(text).collect()
}

/// Array for execve(2), with a null pointer at the end.
fn pointers(words: impl Iterator<Item = *const c_char>) -> Vec<*const c_char> {
    words.chain([ptr::null()]).collect()
}

fn new_user(sandbox: &Sandbox) -> Option<NewUser> {
    let User::Own(id) = sandbox.user else { return None };
    let groups = sandbox.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    Some(NewUser { uid: Uid::from_raw(id), gid: Gid::from_raw(id), groups })
}

/// Flags of clone3(2). A process with a user of its own makes its user namespace later, because it
/// needs root's rights for the files of the host until then.
fn flags(user: User) -> Result<u64, SandboxError> {
    let mut flags = 0;
    for namespace in NAMESPACES {
        let exists = Path::new("/proc/self/ns").join(namespace.name).exists();
        if !exists && namespace.need == Need::Always {
            return Err(SandboxError::Namespaces(namespace.name));
        }
        let is_later = namespace.flag == libc::CLONE_NEWUSER && user != User::Ours;
        if exists && !is_later {
            flags |= u64::from(namespace.flag.cast_unsigned());
        }
    }
    Ok(flags)
}

/// Makes a child in new namespaces, which goes into its sandbox and never returns from here.
fn clone(plan: &Plan<'_>, flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Pid> {
    // SAFETY: all fields are numbers, for which zero means that they are not used.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags;
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if let Some(cgroup) = cgroup {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    let size = size_of_val(&arguments);
    // SAFETY: without CLONE_VM the child has a copy of this memory and stack, like that of fork.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) } {
        0 => {
            // The parent may be gone; the child ends in any case.
            let _ = tell(plan.parent, Message::Failed(enter(plan)));
            // SAFETY: ends the process without running anything of the parent's.
            unsafe { libc::_exit(127) }
        }
        pid => i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(io::Error::last_os_error),
    }
}

/// Leads a process into its sandbox, until it has executed its program or ended.
fn lead(child: &OwnedFd, process: &ChildProcess, sandbox: &Sandbox) -> Result<(), SandboxError> {
    loop {
        let mut words = [[0; 4]; 3];
        let received = recv(child, words.as_flattened_mut(), RecvFlags::empty());
        let (length, _) = received.map_err(|errno| SandboxError::Step {
            what: format!("no step within {} s", STEP_TIMEOUT.as_secs()),
            source: errno.into(),
        })?;
        match (length, Message::parse(words)) {
            (0, _) => return Ok(()),
            (_, Some(Message::MapMe)) => map(child, process, sandbox.user)?,
            (_, Some(Message::Failed(failure))) => return Err(describe(failure, sandbox)),
            (_, None) => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
        }
    }
}

/// Maps the user and the group of a process into its user namespace, and tells it.
fn map(child: &OwnedFd, process: &ChildProcess, user: User) -> Result<(), SandboxError> {
    let (uid, gid) = (user.uid(), user.gid());
    let write = |file: &str, text: String| fs::write(format!("/proc/{}/{file}", process.pid()), text);
    let mapped = write("setgroups", "deny".into())
        .and_then(|()| write("gid_map", format!("{gid} {gid} 1")))
        .and_then(|()| write("uid_map", format!("{uid} {uid} 1")));
    mapped.map_err(|source| SandboxError::Map { uid, source })?;
    // If the child has ended, the next message says so.
    let _ = send(child, &[1], SendFlags::NOSIGNAL);
    Ok(())
}

fn describe(failure: Failure, sandbox: &Sandbox) -> SandboxError {
    let what = match failure.step {
        Step::Session => "leaving the session".into(),
        Step::Map => "waiting for the map of users".into(),
        Step::Root => "making a root folder".into(),
        Step::Entry => describe_entry(sandbox.entries.get(failure.entry as usize)),
        Step::Move => "moving into the root folder".into(),
        Step::User => format!("becoming user {}", sandbox.user.uid()),
        Step::Powers => "giving up capabilities".into(),
        Step::Parent => "asking to die with Luge".into(),
        Step::Descriptors => "keeping file descriptors".into(),
        Step::Execute => format!(
            "executing the program as user {} (may every user read it, its folder and its interpreter?)",
            sandbox.user.uid()
        ),
    };
    SandboxError::Step { what, source: io::Error::from_raw_os_error(failure.errno) }
}

fn describe_entry(entry: Option<&Entry>) -> String {
    let Some(entry) = entry else { return "adding a file".into() };
    let (source, target) = (entry.source.to_string_lossy(), entry.target.to_string_lossy());
    format!("adding {source} as /{target}")
}

//! How a child of ours is started: with nothing of ours but a log, and never outliving us.
//!
//! Invariants
//! - A child is killed when the thread that started it ends.
//! - It is in a process group of its own: a ^C on our terminal is not meant for it.
//! - It has no file descriptor but its standard ones, also where one of ours has lost, or never had,
//!   the flag that closes it: those that come with a message have it only once somebody sets it.
//! - All it prints goes into a bounded log.

#![expect(unsafe_code, reason = "system calls between fork and exec")]

use crate::tail::Log;
use luge_init::{ChildProcess, Reaper};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A running child and what it prints.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) ward: Arc<ChildProcess>,
    pub(crate) log: Log,
}

impl Child {
    /// Starts `command`. The calling thread must live as long as the child is to live.
    pub(crate) fn start(mut command: Command, reaper: &Reaper) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
        let ward = Arc::new(reaper.spawn(set_apart(&mut command))?);
        // The command still holds the writing ends, and the log ends with the last of them.
        drop(command);
        Ok(Self { ward, log: Log::read(reader)? })
    }

    /// Runs `command` to its end, at most for `limit`. `None` if it was not done by then.
    pub(crate) fn run(command: Command, reaper: &Reaper, limit: Duration) -> io::Result<Option<Finished>> {
        let child = Self::start(command, reaper)?;
        let status = child.ward.wait_until(Instant::now() + limit);
        Ok(status.map(|status| Finished { status, lines: child.log.last_lines(20) }))
    }
}

/// A child that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) lines: Vec<String>,
}

/// Lets the child die with its parent, and have nothing else of it.
fn set_apart(command: &mut Command) -> &mut Command {
    let parent = getpid();
    let in_child = move || {
        close_on_exec()?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died just before that call: then no signal will ever come.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec the closure makes system calls and nothing else: it
    // neither allocates nor takes a lock.
    unsafe { command.pre_exec(in_child) }
}

/// Sees to it that every file descriptor but the standard ones is closed by exec. Not at once:
/// by one of them the parent learns that exec has failed.
fn close_on_exec() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    let (last, flags) = (libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: it changes a flag of file descriptors of this process, and no memory.
    match unsafe { libc::syscall(libc::SYS_close_range, FIRST, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_child_prints_on_either_stream_is_in_its_log() {
        let script = "echo out; echo err >&2; exit 3";
        let limit = Duration::from_secs(20);
        let done = Child::run(shell(script), &Reaper::of_own_children(), limit).unwrap().unwrap();
        assert_eq!((done.status.code(), done.lines), (Some(3), vec!["out".to_owned(), "err".to_owned()]));
    }

    #[test]
    fn a_child_gets_no_file_descriptor_of_ours() {
        let ours = rustix::io::dup(std::fs::File::open("/dev/null").unwrap()).unwrap();
        assert_eq!(rustix::io::fcntl_getfd(&ours).unwrap(), rustix::io::FdFlags::empty());
        let script = format!("test ! -e /proc/$$/fd/{}", ours.as_raw_fd());
        let limit = Duration::from_secs(20);
        let done = Child::run(shell(&script), &Reaper::of_own_children(), limit).unwrap().unwrap();
        assert!(done.status.success(), "the child has it too");
    }

    #[test]
    fn a_child_that_takes_too_long_is_gone_afterwards() {
        let limit = Duration::from_millis(20);
        assert!(Child::run(shell("exec sleep 1000"), &Reaper::of_own_children(), limit).unwrap().is_none());
    }

    #[test]
    fn a_child_dies_with_the_thread_that_started_it() {
        let reaper = Reaper::of_own_children();
        let starter = std::thread::spawn(move || Child::start(shell("exec sleep 1000"), &reaper).unwrap());
        let child = starter.join().unwrap();
        let status = child.ward.wait_until(Instant::now() + Duration::from_secs(20)).unwrap();
        assert_eq!(status.to_string(), "signal: 9 (SIGKILL)");
    }
}

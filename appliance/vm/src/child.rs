//! Start of a child process that shares nothing with this one, and never outlives it.
//!
//! Invariants
//! - The child is killed when the thread that started it ends.
//! - The child has its own process group, so that a ^C on our terminal does not reach it.
//! - The child has standard file descriptors only, even if one of ours lacks the close-on-exec flag.
//!   Those that arrive with a message get the flag late.
//! - Output of the child is kept in a bounded log.

#![expect(unsafe_code, reason = "system calls between fork and exec")]

use crate::tail::Log;
use luge_init::{ChildProcess, Reaper};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A child process and its output.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) process: Arc<ChildProcess>,
    pub(crate) log: Log,
}

impl Child {
    /// Starts a child, which is killed when the calling thread ends.
    pub(crate) fn start(mut command: Command, reaper: &Reaper) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
        let process = Arc::new(reaper.spawn(isolate(&mut command))?);
        // The command holds writing ends of the pipe. The log ends when all of them are closed.
        drop(command);
        Ok(Self { process, log: Log::read(reader)? })
    }

    /// Runs a command to its end. `None` if it did not end within `timeout`; it is killed then.
    pub(crate) fn run(command: Command, reaper: &Reaper, timeout: Duration) -> io::Result<Option<Finished>> {
        let child = Self::start(command, reaper)?;
        let status = child.process.wait_until(Instant::now() + timeout);
        Ok(status.map(|status| Finished { status, lines: child.log.last_lines(20) }))
    }
}

/// Result of a child that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) lines: Vec<String>,
}

/// Makes the child die with its parent, and inherit no file descriptors.
fn isolate(command: &mut Command) -> &mut Command {
    let parent = getpid();
    let in_child = move || {
        close_on_exec()?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before that call; no signal would arrive then.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec the closure makes system calls only. It neither allocates nor locks.
    unsafe { command.pre_exec(in_child) }
}

/// Marks all file descriptors except the standard ones to be closed by exec. One of them is needed until
/// then: it tells the parent if exec fails.
fn close_on_exec() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    let (last, flags) = (libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: the call changes a flag of file descriptors of this process, and no memory.
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
    fn output_of_both_streams_is_in_the_log() {
        let script = "echo out; echo err >&2; exit 3";
        let limit = Duration::from_secs(20);
        let done = Child::run(shell(script), &Reaper::of_own_children(), limit).unwrap().unwrap();
        assert_eq!(done.status.code(), Some(3));
        assert_eq!(done.lines, ["out", "err"]);
    }

    #[test]
    fn a_child_inherits_no_file_descriptor() {
        let ours = rustix::io::dup(std::fs::File::open("/dev/null").unwrap()).unwrap();
        assert_eq!(rustix::io::fcntl_getfd(&ours).unwrap(), rustix::io::FdFlags::empty());
        let script = format!("test ! -e /proc/$$/fd/{}", ours.as_raw_fd());
        let limit = Duration::from_secs(20);
        let done = Child::run(shell(&script), &Reaper::of_own_children(), limit).unwrap().unwrap();
        assert!(done.status.success(), "the child has it too");
    }

    #[test]
    fn a_child_that_takes_too_long_is_killed() {
        let limit = Duration::from_millis(20);
        assert!(Child::run(shell("exec sleep 1000"), &Reaper::of_own_children(), limit).unwrap().is_none());
    }

    #[test]
    fn a_child_dies_with_the_thread_that_started_it() {
        let reaper = Reaper::of_own_children();
        let starter = std::thread::spawn(move || Child::start(shell("exec sleep 1000"), &reaper).unwrap());
        let child = starter.join().unwrap();
        let status = child.process.wait_until(Instant::now() + Duration::from_secs(20)).unwrap();
        assert_eq!(status.to_string(), "signal: 9 (SIGKILL)");
    }
}

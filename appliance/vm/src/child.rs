//! A child process in a sandbox, and its output in a bounded log.

use crate::sandbox::{Program, Sandbox, SandboxError, start};
use crate::tail::Log;
use luge_init::{ChildProcess, Reaper};
use std::io;
use std::os::fd::AsFd;
use std::process::ExitStatus;
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
    pub(crate) fn start(
        program: &Program<'_>,
        sandbox: &Sandbox,
        reaper: &Reaper,
    ) -> Result<Self, SandboxError> {
        let (reader, writer) = io::pipe()?;
        let process = Arc::new(start(program, sandbox, writer.as_fd(), reaper)?);
        // The log ends when all writing ends of the pipe are closed.
        drop(writer);
        Ok(Self { process, log: Log::read(reader)? })
    }

    /// Runs a program to its end. `None` if it did not end within `timeout`; it is killed then.
    pub(crate) fn run(
        program: &Program<'_>,
        sandbox: &Sandbox,
        reaper: &Reaper,
        timeout: Duration,
    ) -> Result<Option<Finished>, SandboxError> {
        let child = Self::start(program, sandbox, reaper)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::User;
    use std::os::fd::{AsRawFd, BorrowedFd};
    use std::path::Path;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell<'a>(script: &str, descriptors: Vec<BorrowedFd<'a>>) -> Program<'a> {
        Program { path: Path::new("/bin/sh"), arguments: vec!["-c".into(), script.into()], descriptors }
    }

    fn sandbox() -> Sandbox {
        Sandbox::new(User::number(1_900_000_000, 1)).unwrap()
    }

    /// Runs a script; `None` if this machine allows no sandbox.
    fn run(script: &str, descriptors: Vec<BorrowedFd<'_>>) -> Option<Finished> {
        let program = shell(script, descriptors);
        match Child::run(&program, &sandbox(), &Reaper::of_own_children(), LIMIT) {
            Err(error) if error.is_refusal() => {
                luge_skip::skip(&error.to_string());
                None
            }
            done => Some(done.unwrap().unwrap()),
        }
    }

    #[test]
    fn output_of_both_streams_is_in_the_log() {
        let Some(done) = run("echo out; echo err >&2; exit 3", Vec::new()) else { return };
        assert_eq!(done.status.code(), Some(3));
        assert_eq!(done.lines, ["out", "err"]);
    }

    #[test]
    fn a_child_has_the_file_descriptors_that_it_is_given_and_no_other() {
        let file = || rustix::io::dup(std::fs::File::open("/dev/null").unwrap()).unwrap();
        let (given, kept) = (file(), file());
        assert_eq!(rustix::io::fcntl_getfd(&kept).unwrap(), rustix::io::FdFlags::empty());
        let has = |file: &rustix::fd::OwnedFd| format!("test -e /proc/self/fd/{}", file.as_raw_fd());
        let script = format!("{} || exit 1; {} && exit 2; exit 0", has(&given), has(&kept));
        let Some(done) = run(&script, vec![given.as_fd()]) else { return };
        assert_eq!(done.status.code(), Some(0));
    }

    #[test]
    fn a_program_that_cannot_be_executed_is_an_error_with_the_step() {
        let program = Program { path: Path::new("/nowhere"), arguments: Vec::new(), descriptors: Vec::new() };
        let error = Child::start(&program, &sandbox(), &Reaper::of_own_children()).unwrap_err();
        if error.is_refusal() {
            return luge_skip::skip(&error.to_string());
        }
        assert!(error.to_string().starts_with("executing the program as user"), "{error}");
        assert!(error.to_string().contains("No such file"), "{error}");
    }

    #[test]
    fn a_file_that_is_missing_is_named_in_the_error() {
        let mut sandbox = sandbox();
        sandbox.add_file(Path::new("/nowhere/disk"), Path::new("/vm/disk0")).unwrap();
        let error = Child::start(&shell("", Vec::new()), &sandbox, &Reaper::of_own_children()).unwrap_err();
        if error.is_refusal() {
            return luge_skip::skip(&error.to_string());
        }
        assert!(error.to_string().starts_with("adding /nowhere/disk as /vm/disk0: No such file"), "{error}");
    }

    #[test]
    fn a_child_that_takes_too_long_is_killed() {
        let (reaper, limit) = (Reaper::of_own_children(), Duration::from_millis(20));
        match Child::run(&shell("exec sleep 1000", Vec::new()), &sandbox(), &reaper, limit) {
            Err(error) if error.is_refusal() => luge_skip::skip(&error.to_string()),
            done => assert!(done.unwrap().is_none()),
        }
    }

    #[test]
    fn a_child_dies_with_the_thread_that_started_it() {
        let reaper = Reaper::of_own_children();
        let start = move || Child::start(&shell("exec sleep 1000", Vec::new()), &sandbox(), &reaper);
        let child = match std::thread::spawn(start).join().unwrap() {
            Err(error) if error.is_refusal() => return luge_skip::skip(&error.to_string()),
            child => child.unwrap(),
        };
        let status = child.process.wait_until(Instant::now() + LIMIT).unwrap();
        assert_eq!(status.to_string(), "signal: 9 (SIGKILL)");
    }
}

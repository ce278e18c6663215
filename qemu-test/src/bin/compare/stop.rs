//! Signals that end the command: they interrupt the wait for a child, so that all processes end in
//! order.

use luge_qemu_test::{Deadline, Process, TestError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;

/// Watches for signals.
pub(crate) struct Stop {
    /// Socket that becomes readable when a signal arrives.
    asked: UnixStream,
}

impl Stop {
    /// Starts to watch for SIGHUP, SIGINT and SIGTERM, which then no longer end the process.
    ///
    /// # Errors
    /// If a system call fails.
    pub(crate) fn watch() -> Result<Self, TestError> {
        let watch = || {
            let (asked, tell) = UnixStream::pair()?;
            for signal in [SIGHUP, SIGINT, SIGTERM] {
                signal_hook::low_level::pipe::register(signal, tell.try_clone()?)?;
            }
            Ok(Self { asked })
        };
        watch().map_err(failed("watching for signals"))
    }

    /// Whether a signal has arrived.
    pub(crate) fn was_asked(&self) -> bool {
        let mut asked = [PollFd::new(&self.asked, PollFlags::IN)];
        poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Waits for the end of `process`.
    ///
    /// # Errors
    /// If the process still runs when the deadline has passed, or a signal arrives before.
    pub(crate) fn wait(&self, process: &mut Process, deadline: Deadline) -> Result<ExitStatus, TestError> {
        let left = Timespec::try_from(deadline.left()).ok();
        let mut awaited =
            [PollFd::new(&self.asked, PollFlags::IN), PollFd::new(process.handle(), PollFlags::IN)];
        let polled = rustix::io::retry_on_intr(|| poll(&mut awaited, left.as_ref()));
        polled.map_err(|errno| failed("waiting for a child")(errno.into()))?;
        if !awaited[0].revents().is_empty() {
            return Err(TestError::Host("interrupted".to_owned()));
        }
        process.wait(deadline)
    }
}

fn failed(doing: &str) -> impl FnOnce(io::Error) -> TestError {
    let doing = doing.to_owned();
    move |source| TestError::Io { doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_signal_ends_the_wait_for_a_child_and_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("600");
        let mut child = Process::start("sleep", command, &folder.path().join("log")).unwrap();
        let stop = Stop::watch().unwrap();
        assert!(!stop.was_asked());
        signal_hook::low_level::raise(SIGHUP).unwrap();
        let error = stop.wait(&mut child, Deadline::within(60)).unwrap_err();
        assert!(stop.was_asked() && error.to_string() == "interrupted", "{error}");
    }
}

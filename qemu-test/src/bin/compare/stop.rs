//! Signals that ask for an end: they end the wait for a child, so that everything which was
//! started ends in order.

use luge_qemu_test::{Deadline, Process, TestError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;

/// Whether a signal came.
pub(crate) struct Stop {
    /// Becomes readable.
    asked: UnixStream,
}

impl Stop {
    /// From now on these signals no longer end the process.
    ///
    /// # Errors
    /// The system refuses.
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

    /// Waits for the end of `process`.
    ///
    /// # Errors
    /// It still runs when the deadline has passed, or a signal came first.
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

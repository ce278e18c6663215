//! Child processes that cannot outlive us and whose output is kept.
//!
//! Invariants
//! - Dropping the handle kills the child by its id and reaps it.
//! - When the thread that started it ends, the kernel kills it: start a process from a thread that
//!   lives as long as the process has to.

#![expect(unsafe_code, reason = "a child asks for its death signal between fork and exec")]

use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use crate::transcript::Transcript;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

/// A running child.
pub struct Process {
    who: String,
    child: Child,
    handle: OwnedFd,
    input: Option<ChildStdin>,
    /// Standard output and standard error.
    pub output: Transcript,
}

impl Process {
    /// Starts `command`, with its output in the file `log`.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(who: &str, mut command: Command, log: &Path) -> Result<Self, TestError> {
        let (reader, writer) = io::pipe().doing(|| "making a pipe".to_owned())?;
        let errors = writer.try_clone().doing(|| "copying a pipe".to_owned())?;
        command.stdin(Stdio::piped()).stdout(writer).stderr(errors);
        die_with_parent(&mut command);
        let mut child = command.spawn().doing(|| format!("starting {who} ({command:?})"))?;
        // The command holds the pipe's write end, and the transcript ends only when that is closed.
        drop(command);
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        let input = child.stdin.take();
        let output = Transcript::follow(who, log, reader);
        let opened = handle.doing(|| format!("watching {who}")).and_then(|handle| Ok((handle, output?)));
        match opened {
            Ok((handle, output)) => Ok(Self { who: who.to_owned(), child, handle, input, output }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A descriptor that becomes readable when the process has ended.
    #[must_use]
    pub fn handle(&self) -> &OwnedFd {
        &self.handle
    }

    /// Writes to the standard input.
    ///
    /// # Errors
    /// If the process no longer reads.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), TestError> {
        let sent = match &mut self.input {
            Some(input) => input.write_all(bytes).and_then(|()| input.flush()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        sent.doing(|| format!("writing to {}", self.who))
    }

    /// Writes a line to the standard input.
    ///
    /// # Errors
    /// If the process no longer reads.
    pub fn send_line(&mut self, line: &str) -> Result<(), TestError> {
        self.send(format!("{line}\n").as_bytes())
    }

    /// Whether the process still runs.
    ///
    /// # Errors
    /// If the system call fails.
    pub fn is_running(&mut self) -> Result<bool, TestError> {
        let status = self.child.try_wait().doing(|| format!("asking for {}", self.who))?;
        Ok(status.is_none())
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// If the process still runs when the deadline has passed.
    pub fn wait(&mut self, deadline: Deadline) -> Result<ExitStatus, TestError> {
        let left = Timespec::try_from(deadline.left()).ok();
        let mut ended = [PollFd::new(&self.handle, PollFlags::IN)];
        let count = rustix::io::retry_on_intr(|| poll(&mut ended, left.as_ref()));
        if count.doing(|| format!("waiting for {}", self.who))? == 0 {
            let (tail, log) = (self.output.tail(), self.output.log().to_owned());
            return Err(TestError::Lingers { who: self.who.clone(), allowed: deadline.allowed(), tail, log });
        }
        self.child.wait().doing(|| format!("waiting for {}", self.who))
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// If the process was reaped already.
    pub fn terminate(&self) -> Result<(), TestError> {
        rustix::process::pidfd_send_signal(&self.handle, Signal::TERM)
            .doing(|| format!("sending SIGTERM to {}", self.who))
    }

    /// Kills and reaps the process.
    pub fn kill(&mut self) {
        end(&mut self.child);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Kills and reaps a child; one that has ended is only reaped.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn die_with_parent(command: &mut Command) {
    let ask = || set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from);
    // SAFETY: between fork and exec the closure makes one system call, which neither allocates nor
    // takes a lock.
    unsafe { command.pre_exec(ask) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn shell(script: &str) -> (Process, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        (Process::start("shell", command, &folder.path().join("log")).unwrap(), folder)
    }

    #[test]
    fn a_process_reads_its_input_and_its_output_is_kept() {
        let (mut shell, _folder) = shell("read line; echo you said $line; exit 3");
        shell.send_line("hello").unwrap();
        assert_eq!(shell.output.wait_line("you said", Deadline::within(60)).unwrap(), "hello");
        assert_eq!(shell.wait(Deadline::within(60)).unwrap().code(), Some(3));
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let (shell, _folder) = shell("echo up; exec sleep 600");
        shell.output.wait_for("up", Deadline::within(60)).unwrap();
        let entry = PathBuf::from(format!("/proc/{}", shell.id()));
        assert!(entry.exists());
        drop(shell);
        assert!(!entry.exists());
    }

    #[test]
    fn a_process_that_goes_on_is_reported_with_its_log() {
        let (mut shell, _folder) = shell("echo still here; exec sleep 600");
        shell.output.wait_for("here", Deadline::within(60)).unwrap();
        let error = shell.wait(Deadline::within(0)).unwrap_err().to_string();
        assert!(error.contains("still here"), "{error}");
        shell.terminate().unwrap();
        assert_eq!(shell.wait(Deadline::within(60)).unwrap().code(), None);
    }

    #[test]
    fn a_process_dies_with_the_thread_that_started_it() {
        let (process, _folder) = std::thread::spawn(|| shell("echo up; exec sleep 600")).join().unwrap();
        process.output.wait_end(Deadline::within(60)).unwrap();
    }
}

//! Reaper: starts child processes, collects their exit statuses, and reaps orphans.
//!
//! Invariants
//! - A child is reaped only while the register is locked, so that its process id cannot be reused while
//!   a caller still refers to it.
//! - Each exit status reaches its [`ChildProcess`], or belongs to an orphan.
//! - Dropping a [`ChildProcess`] kills the process.
//!
//! Not here: the purpose of a child, and asking it to end (`vm`).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process, pidfd_open,
    pidfd_send_signal, wait, waitid, waitpid,
};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Processes that a reaper waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scope {
    /// Children that it started; other code of this process may have children, too.
    Own,
    /// All children of the process, which is PID 1 and gets the orphans.
    Everybody,
}

/// Register of child processes. All clones share it.
#[derive(Clone, Debug)]
pub struct Reaper {
    shared: Arc<Shared>,
    scope: Scope,
}

#[derive(Debug)]
struct Shared {
    children: Mutex<Children>,
    changed: Condvar,
}

/// Children by process id: running ones (`None`), and ended ones that have not been dropped.
type Children = HashMap<Pid, Option<ExitStatus>>;

impl Reaper {
    /// Reaper of the children that it starts; it does not wait for others.
    #[must_use]
    pub fn of_own_children() -> Self {
        Self { shared: Arc::new(Shared::new()), scope: Scope::Own }
    }

    /// Reaper of PID 1: reaps all children, including orphans. A process may have one, and no other code
    /// in it may wait for children.
    ///
    /// # Errors
    /// The thread that waits cannot be started.
    pub fn of_everybody() -> io::Result<Self> {
        let shared = Arc::new(Shared::new());
        let waiting = Arc::clone(&shared);
        thread::Builder::new().name("reaper".into()).spawn(move || waiting.reap_everybody())?;
        Ok(Self { shared, scope: Scope::Everybody })
    }

    /// Starts a child. A parent's death signal, if the child asks for one, is sent when the calling
    /// *thread* ends.
    ///
    /// # Errors
    /// Errors of [`Command::spawn`] and pidfd_open(2).
    pub fn spawn(&self, command: &mut Command) -> io::Result<ChildProcess> {
        self.spawn_with(|| Ok(Pid::from_child(&command.spawn()?)))
    }

    /// Starts a child by a function that returns its process id, which must be that of a new child.
    /// Other children are not reaped meanwhile, so the function must not wait for anything.
    ///
    /// # Errors
    /// Errors of the function and of pidfd_open(2).
    pub fn spawn_with(&self, start: impl FnOnce() -> io::Result<Pid>) -> io::Result<ChildProcess> {
        let mut children = self.shared.lock();
        let pid = start()?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).inspect_err(|_| {
            let _ = kill_process(pid, Signal::KILL);
        })?;
        children.insert(pid, None);
        drop(children);
        self.shared.changed.notify_all();
        if self.scope == Scope::Own {
            let shared = Arc::clone(&self.shared);
            let waiting =
                thread::Builder::new().name(format!("reaper {pid}")).spawn(move || shared.reap_one(pid));
            if let Err(error) = waiting {
                let _ = kill_process(pid, Signal::KILL);
                self.shared.reap_one(pid);
                return Err(error);
            }
        }
        Ok(ChildProcess { pid, handle, shared: Arc::clone(&self.shared) })
    }
}

impl Shared {
    fn new() -> Self {
        Self { children: Mutex::new(HashMap::new()), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the exit status of a child; ignores orphans.
    fn store(&self, children: &mut Children, pid: Pid, status: WaitStatus) {
        if let Some(stored) = children.get_mut(&pid) {
            *stored = Some(ExitStatus::from_raw(status.as_raw()));
            self.changed.notify_all();
        }
    }

    /// Waits until a child has ended, without reaping it, then reaps it under the lock.
    fn reap_one(&self, pid: Pid) {
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), peek) {}
        let mut children = self.lock();
        if let Ok(Some((_, status))) = waitpid(Some(pid), WaitOptions::NOHANG) {
            self.store(&mut children, pid, status);
        }
    }

    /// Reaps children for ever. A process without children gets no orphans either, so it can wait for
    /// the next start then.
    fn reap_everybody(&self) {
        loop {
            match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Err(Errno::CHILD) => self.wait_for_a_start(),
                _ => self.reap_ended(),
            }
        }
    }

    fn reap_ended(&self) {
        let mut children = self.lock();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            self.store(&mut children, pid, status);
        }
    }

    fn wait_for_a_start(&self) {
        let children = self.lock();
        let none_runs = |children: &mut Children| children.values().all(Option::is_some);
        drop(self.changed.wait_while(children, none_runs));
    }
}

/// A child process. Dropping it kills the process, if it runs, and reaps it.
#[derive(Debug)]
pub struct ChildProcess {
    pid: Pid,
    handle: OwnedFd,
    shared: Arc<Shared>,
}

impl ChildProcess {
    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// File descriptor that becomes readable when the process has ended.
    #[must_use]
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Sends a signal, if the process has not ended.
    pub fn signal(&self, signal: Signal) {
        // A pidfd always refers to this process. The only error is that it has ended.
        let _ = pidfd_send_signal(&self.handle, signal);
    }

    /// Waits for the end of the process.
    #[must_use]
    pub fn wait(&self) -> ExitStatus {
        let mut children = self.shared.lock();
        loop {
            if let Some(status) = self.status(&children) {
                return status;
            }
            children = self.shared.changed.wait(children).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the end of the process, at most until `deadline`.
    #[must_use]
    pub fn wait_until(&self, deadline: Instant) -> Option<ExitStatus> {
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = readable(self.handle.as_fd(), left);
        ended.then(|| self.wait())
    }

    fn status(&self, children: &Children) -> Option<ExitStatus> {
        children.get(&self.pid).copied().flatten()
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.wait();
        self.shared.lock().remove(&self.pid);
    }
}

/// Whether `fd` becomes readable within `timeout`.
fn readable(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], left.as_ref()) {
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => return false,
            Ok(_) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null());
        command
    }

    #[test]
    fn each_child_has_its_own_exit_status() {
        let reaper = Reaper::of_own_children();
        let children: Vec<ChildProcess> =
            (0..8).map(|code| reaper.spawn(&mut shell(&format!("exit {code}"))).unwrap()).collect();
        for (code, child) in children.iter().enumerate().rev() {
            assert_eq!(child.wait().code(), i32::try_from(code).ok());
        }
    }

    #[test]
    fn the_status_of_a_killed_child_has_the_signal() {
        let child = Reaper::of_own_children().spawn(&mut shell("exec sleep 1000")).unwrap();
        child.signal(Signal::TERM);
        assert_eq!(child.wait().signal(), Some(Signal::TERM.as_raw()));
        child.signal(Signal::KILL);
    }

    #[test]
    fn a_wait_ends_at_its_deadline_or_with_the_child() {
        let child = Reaper::of_own_children().spawn(&mut shell("exec sleep 1000")).unwrap();
        assert!(child.wait_until(Instant::now() + Duration::from_millis(20)).is_none());
        child.signal(Signal::KILL);
        assert!(child.wait_until(Instant::now() + Duration::from_secs(20)).is_some());
    }

    #[test]
    fn dropping_a_child_leaves_no_process() {
        let child = Reaper::of_own_children().spawn(&mut shell("exec sleep 1000")).unwrap();
        let path = format!("/proc/{}", child.pid());
        assert!(std::path::Path::new(&path).exists());
        drop(child);
        assert!(!std::path::Path::new(&path).exists());
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error_and_no_child() {
        let reaper = Reaper::of_own_children();
        assert_eq!(reaper.spawn(&mut Command::new("/nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(reaper.shared.lock().is_empty());
    }
}

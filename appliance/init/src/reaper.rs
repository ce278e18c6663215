//! Children: who started them, who waits for them, and who buries the orphans.
//!
//! Invariants
//! - A child is reaped only while the register is locked, so its process id cannot be
//!   given to another process while somebody here still means the old one.
//! - Every exit status reaches the [`Ward`] that waits for it, or belongs to an orphan.
//! - A ward that is dropped takes its process with it.
//!
//! Not here: what a child is for (`vm`), or how it is asked to end.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, pidfd_open, pidfd_send_signal,
    wait, waitid, waitpid,
};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Whose deaths are attended to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scope {
    /// Only the children started here: the process has a life of its own around us.
    Own,
    /// Everybody's: the process is PID 1, and orphans become its children.
    Everybody,
}

/// The register of this process's children. Clones are the same register.
#[derive(Clone, Debug)]
pub struct Reaper {
    shared: Arc<Shared>,
    scope: Scope,
}

#[derive(Debug)]
struct Shared {
    /// Running children (`None`) and ended ones whose status nobody has fetched.
    children: Mutex<HashMap<Pid, Option<ExitStatus>>>,
    changed: Condvar,
}

impl Reaper {
    /// A register that waits for its own children only and leaves all others alone.
    #[must_use]
    pub fn of_own_children() -> Self {
        Self { shared: Arc::new(Shared::new()), scope: Scope::Own }
    }

    /// The register of PID 1: reaps its children and every orphan. There may be one in a
    /// process, and nothing else in it may wait for children.
    ///
    /// # Errors
    /// If the thread that waits cannot be started.
    pub fn of_everybody() -> io::Result<Self> {
        let shared = Arc::new(Shared::new());
        let waiting = Arc::clone(&shared);
        thread::Builder::new().name("reaper".into()).spawn(move || waiting.reap_everybody())?;
        Ok(Self { shared, scope: Scope::Everybody })
    }

    /// Starts `command`. A child that asked for its parent's death signal gets it when the
    /// *thread* that calls this ends.
    ///
    /// # Errors
    /// Those of [`Command::spawn`], or of `pidfd_open`.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Ward> {
        let mut children = self.shared.lock();
        let mut child = command.spawn()?;
        let pid = Pid::from_child(&child);
        let handle = pidfd_open(pid, PidfdFlags::empty()).inspect_err(|_| {
            let _ = child.kill();
        })?;
        children.insert(pid, None);
        drop(children);
        self.shared.changed.notify_all();
        if self.scope == Scope::Own {
            let shared = Arc::clone(&self.shared);
            let waiting =
                thread::Builder::new().name(format!("reaper {pid}")).spawn(move || shared.reap_one(pid));
            if let Err(error) = waiting {
                let _ = child.kill();
                self.shared.reap_one(pid);
                return Err(error);
            }
        }
        Ok(Ward { pid, handle, shared: Arc::clone(&self.shared) })
    }
}

impl Shared {
    fn new() -> Self {
        Self { children: Mutex::new(HashMap::new()), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Pid, Option<ExitStatus>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, children: &mut HashMap<Pid, Option<ExitStatus>>, pid: Pid, status: WaitStatus) {
        if let Some(place) = children.get_mut(&pid) {
            *place = Some(ExitStatus::from_raw(status.as_raw()));
            self.changed.notify_all();
        }
    }

    /// Waits until the child is dead without reaping it, then reaps it under the lock.
    fn reap_one(&self, pid: Pid) {
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), peek) {}
        let mut children = self.lock();
        if let Ok(Some((_, status))) = waitpid(Some(pid), WaitOptions::NOHANG) {
            self.deliver(&mut children, pid, status);
        }
    }

    /// Never ends. A process without children cannot get orphans either, so where there are
    /// none it is enough to wait for the next start.
    fn reap_everybody(&self) {
        loop {
            match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Err(Errno::CHILD) => self.wait_for_a_start(),
                _ => self.reap_the_dead(),
            }
        }
    }

    fn reap_the_dead(&self) {
        let mut children = self.lock();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            self.deliver(&mut children, pid, status);
        }
    }

    fn wait_for_a_start(&self) {
        let children = self.lock();
        let none_runs =
            |children: &mut HashMap<Pid, Option<ExitStatus>>| children.values().all(Option::is_some);
        drop(self.changed.wait_while(children, none_runs));
    }
}

/// One child, from its start until somebody has seen it end.
#[derive(Debug)]
pub struct Ward {
    pid: Pid,
    handle: OwnedFd,
    shared: Arc<Shared>,
}

impl Ward {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// A file descriptor that becomes readable when the child has ended.
    #[must_use]
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Sends a signal; to a child that has ended, nothing.
    pub fn signal(&self, signal: Signal) {
        // The handle names this very process for ever: the only error is that it is gone.
        let _ = pidfd_send_signal(&self.handle, signal);
    }

    /// Waits for the end, however long it takes.
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

    /// Waits for the end, at most until `deadline`.
    #[must_use]
    pub fn wait_until(&self, deadline: Instant) -> Option<ExitStatus> {
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = readable(self.handle.as_fd(), left);
        ended.then(|| self.wait())
    }

    fn status(&self, children: &HashMap<Pid, Option<ExitStatus>>) -> Option<ExitStatus> {
        children.get(&self.pid).copied().flatten()
    }
}

impl Drop for Ward {
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
    fn each_ward_gets_the_status_of_its_own_child() {
        let reaper = Reaper::of_own_children();
        let wards: Vec<Ward> =
            (0..8).map(|code| reaper.spawn(&mut shell(&format!("exit {code}"))).unwrap()).collect();
        for (code, ward) in wards.iter().enumerate().rev() {
            assert_eq!(ward.wait().code(), i32::try_from(code).ok());
        }
    }

    #[test]
    fn a_child_killed_by_a_signal_says_which() {
        let ward = Reaper::of_own_children().spawn(&mut shell("exec sleep 1000")).unwrap();
        ward.signal(Signal::TERM);
        assert_eq!(ward.wait().signal(), Some(Signal::TERM.as_raw()));
        ward.signal(Signal::KILL);
    }

    #[test]
    fn a_deadline_passes_without_an_end_and_the_end_is_seen_later() {
        let ward = Reaper::of_own_children().spawn(&mut shell("exec sleep 1000")).unwrap();
        assert!(ward.wait_until(Instant::now() + Duration::from_millis(20)).is_none());
        ward.signal(Signal::KILL);
        assert!(ward.wait_until(Instant::now() + Duration::from_secs(20)).is_some());
    }

    #[test]
    fn a_dropped_ward_leaves_no_process() {
        let ward = Reaper::of_own_children().spawn(&mut shell("exec sleep 1000")).unwrap();
        let path = format!("/proc/{}", ward.pid());
        assert!(std::path::Path::new(&path).exists());
        drop(ward);
        assert!(!std::path::Path::new(&path).exists());
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error_and_no_child() {
        let reaper = Reaper::of_own_children();
        assert_eq!(reaper.spawn(&mut Command::new("/nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(reaper.shared.lock().is_empty());
    }
}

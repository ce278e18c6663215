//! A VM: its definition and its state, shared by its supervisor and the runner.

use crate::console::{ConsoleText, console_text};
use crate::events::Events;
use crate::spec::VmSpec;
use crate::state::VmState;
use crate::status::{VmExit, VmStatus};
use luge_init::ChildProcess;
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::Signal;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A VM.
#[derive(Debug)]
pub(crate) struct Vm {
    pub(crate) spec: VmSpec,
    /// Number of its user, counted from the first one of VMs.
    pub(crate) user_number: u32,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Eventfd that is readable when a stop was requested.
    wake: OwnedFd,
    events: Events,
}

/// A process of a VM.
#[derive(Debug)]
pub(crate) struct VmProcess {
    pub(crate) process: Arc<ChildProcess>,
    /// User as whom it runs.
    pub(crate) user: u32,
    /// Path of its cgroup.
    pub(crate) cgroup: Option<PathBuf>,
    /// Path of the console's socket.
    pub(crate) console: PathBuf,
}

/// The part of a VM that changes.
#[derive(Debug)]
struct Inner {
    status: VmStatus,
    /// Time limit for the guest to power off, if a stop was requested.
    stop: Option<Duration>,
    console: ConsoleText,
    process: Option<Arc<ChildProcess>>,
    /// Whether the CPUs have run since the last start.
    has_run: bool,
}

impl Inner {
    fn kill_if_starting(&self) {
        if let (VmState::Starting, Some(process)) = (self.status.state, &self.process) {
            process.signal(Signal::KILL);
        }
    }
}

impl Vm {
    pub(crate) fn new(spec: VmSpec, user_number: u32, events: Events) -> io::Result<Self> {
        let inner = Inner {
            status: VmStatus::of(&spec),
            stop: None,
            console: console_text(),
            process: None,
            has_run: false,
        };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { spec, user_number, inner: Mutex::new(inner), changed: Condvar::new(), wake, events })
    }

    /// Path of the console's socket, the longest of all paths in a VM's folder.
    pub(crate) fn console_path(folder: &Path) -> PathBuf {
        folder.join("console.sock")
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> VmStatus {
        self.lock().status.clone()
    }

    pub(crate) fn state(&self) -> VmState {
        self.lock().status.state
    }

    pub(crate) fn console_text(&self) -> ConsoleText {
        self.lock().console.clone()
    }

    pub(crate) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Time limit for the guest to power off, if a stop was requested.
    pub(crate) fn requested_stop(&self) -> Option<Duration> {
        self.lock().stop
    }

    /// Requests a stop. A VM that is starting is killed, because no guest runs yet.
    pub(crate) fn request_stop(&self, powerdown: Duration) {
        let mut inner = self.lock();
        inner.stop = Some(powerdown);
        inner.kill_if_starting();
        drop(inner);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Enters [`VmState::Starting`]; discards status and console text of the last process.
    pub(crate) fn set_starting(&self, accelerator: String) {
        let mut inner = self.lock();
        inner.stop = None;
        inner.has_run = false;
        inner.console = console_text();
        inner.status = VmStatus { accelerator: Some(accelerator), ..VmStatus::of(&self.spec) };
        self.enter(inner, VmState::Starting);
    }

    /// Stores the process of the VM.
    pub(crate) fn set_process(&self, started: VmProcess) {
        let mut inner = self.lock();
        inner.status.pid = Some(started.process.pid());
        inner.status.user = Some(started.user);
        inner.status.cgroup = started.cgroup;
        inner.status.console = Some(started.console);
        inner.process = Some(started.process);
        if inner.stop.is_some() {
            inner.kill_if_starting();
        }
    }

    pub(crate) fn set_running(&self) {
        let mut inner = self.lock();
        inner.has_run = true;
        self.enter(inner, VmState::Running);
    }

    pub(crate) fn set_stopping(&self) {
        self.enter(self.lock(), VmState::Stopping);
    }

    pub(crate) fn set_ended(&self, state: VmState, exit: VmExit) {
        let mut inner = self.lock();
        inner.process = None;
        inner.status.pid = None;
        inner.status.user = None;
        inner.status.cgroup = None;
        inner.status.console = None;
        inner.status.ending = Some(exit);
        self.enter(inner, state);
    }

    fn enter(&self, mut inner: MutexGuard<'_, Inner>, state: VmState) {
        inner.status.state = state;
        self.events.send(&inner.status);
        drop(inner);
        self.changed.notify_all();
    }

    /// Waits until the CPUs run.
    ///
    /// # Errors
    /// The report on the process's end before that.
    pub(crate) fn await_start(&self, deadline: Instant) -> Result<(), VmExit> {
        let status = self.wait_until(deadline, |state| state != VmState::Starting);
        if self.lock().has_run {
            return Ok(());
        }
        let late = VmExit { reason: "it is still starting".into(), messages: Vec::new() };
        Err(status.ending.unwrap_or(late))
    }

    /// Waits until `wanted` accepts the state, at most until `deadline`; returns the last status.
    pub(crate) fn wait_until(&self, deadline: Instant, wanted: impl Fn(VmState) -> bool) -> VmStatus {
        let mut inner = self.lock();
        while !wanted(inner.status.state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.status.clone()
    }
}

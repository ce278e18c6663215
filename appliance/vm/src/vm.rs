//! A VM as its supervisor and everybody else share it.

use crate::console::{ConsoleText, console_text};
use crate::events::Events;
use crate::spec::VmSpec;
use crate::status::{Ending, VmState, VmStatus};
use luge_init::ChildProcess;
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::Signal;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One VM.
#[derive(Debug)]
pub(crate) struct Vm {
    pub(crate) spec: VmSpec,
    now: Mutex<Now>,
    changed: Condvar,
    /// Readable when the supervisor has something to look at.
    wake: OwnedFd,
    events: Events,
}

/// What changes.
#[derive(Debug)]
struct Now {
    status: VmStatus,
    /// How long the guest may take to power off, once it is to.
    stop: Option<Duration>,
    console: ConsoleText,
    process: Option<Arc<ChildProcess>>,
    /// Whether the CPUs have run in this life.
    came_up: bool,
}

impl Now {
    fn kill_if_starting(&self) {
        if let (VmState::Starting, Some(process)) = (self.status.state, &self.process) {
            process.signal(Signal::KILL);
        }
    }
}

impl Vm {
    pub(crate) fn new(spec: VmSpec, events: Events) -> io::Result<Self> {
        let now = Now {
            status: VmStatus::of(&spec),
            stop: None,
            console: console_text(),
            process: None,
            came_up: false,
        };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { spec, now: Mutex::new(now), changed: Condvar::new(), wake, events })
    }

    /// The socket of the console in a VM's folder: the one with the longest path.
    pub(crate) fn console_path(folder: &Path) -> PathBuf {
        folder.join("console.sock")
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// How long the guest may take to power off, if it was asked to.
    pub(crate) fn stop_asked(&self) -> Option<Duration> {
        self.lock().stop
    }

    /// Asks for a stop. A VM that is not up yet has no guest to ask, and is killed.
    pub(crate) fn ask_to_stop(&self, powerdown: Duration) {
        let mut now = self.lock();
        now.stop = Some(powerdown);
        now.kill_if_starting();
        drop(now);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// A new life begins: what is left of the last one is forgotten.
    pub(crate) fn set_starting(&self, accelerator: String) {
        let mut now = self.lock();
        now.stop = None;
        now.came_up = false;
        now.console = console_text();
        now.status = VmStatus { accelerator: Some(accelerator), ..VmStatus::of(&self.spec) };
        self.enter(now, VmState::Starting);
    }

    pub(crate) fn set_process(&self, ward: Arc<ChildProcess>, folder: &Path) {
        let mut now = self.lock();
        now.status.pid = Some(ward.pid());
        now.status.console = Some(Self::console_path(folder));
        now.process = Some(ward);
        if now.stop.is_some() {
            now.kill_if_starting();
        }
    }

    pub(crate) fn set_running(&self) {
        let mut now = self.lock();
        now.came_up = true;
        self.enter(now, VmState::Running);
    }

    pub(crate) fn set_stopping(&self) {
        self.enter(self.lock(), VmState::Stopping);
    }

    pub(crate) fn set_ended(&self, state: VmState, ending: Ending) {
        let mut now = self.lock();
        now.process = None;
        now.status.pid = None;
        now.status.console = None;
        now.status.ending = Some(ending);
        self.enter(now, state);
    }

    fn enter(&self, mut now: MutexGuard<'_, Now>, state: VmState) {
        now.status.state = state;
        self.events.tell(&now.status);
        drop(now);
        self.changed.notify_all();
    }

    /// Waits until the CPUs run.
    ///
    /// # Errors
    /// How the life ended before that.
    pub(crate) fn await_start(&self, deadline: Instant) -> Result<(), Ending> {
        let status = self.wait_until(deadline, |state| state != VmState::Starting);
        if self.lock().came_up {
            return Ok(());
        }
        let late = Ending { reason: "it is still starting".into(), messages: Vec::new() };
        Err(status.ending.unwrap_or(late))
    }

    /// Waits until the state is one that `wanted` accepts; returns the last status.
    pub(crate) fn wait_until(&self, deadline: Instant, wanted: impl Fn(VmState) -> bool) -> VmStatus {
        let mut now = self.lock();
        while !wanted(now.status.state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(now, left);
            now = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        now.status.clone()
    }
}

//! The supervisor: a thread per controller that detects faults and resets the controller.
//!
//! Path: none; channels see its decisions in their links.
//!
//! ```text
//!                    +--------------------------------------------------------+
//!                    v                                                        | 5 the same SSD
//!   1 Live --fault--> 2 links halted --> 3 CC.EN=0, RDY=0 --> links quiet --> 4 enable, identify
//!                                             | fails                         | fails
//!                                             v                               |
//!                                        6 function reset <-------------------+
//!                                             | that, or what follows, fails
//!                                             v
//!                           7 bus master off --works--> 8 Gone
//!                                   | fails
//!                                   v
//!                              9 Stuck: 7 again, once a second
//!
//!   any but 8 --the host wants its function back--> 10 shut down, handed back --> 8 Gone
//! ```
//!
//! Invariants
//! - Requests in flight end only after 3, 6, 7 or 10 has worked: from then on the SSD cannot
//!   write to their memory.
//! - A wake-up of the thread counts one tick at most, so that a machine that was paused sees no timeouts.
//!
//! Not here: the work of a channel meanwhile (`link`, `queue_pair`).

use crate::admin::{drain, wait_readable};
use crate::bring_up::identify;
use crate::control::{Control, Inner};
use crate::examination::{examine_all, examine_next, examine_next_excluded};
use crate::format::NamespaceId;
use crate::health::ControllerState;
use crate::link::Stage;
use crate::{ErrorKind, Fault};
use luge_memory::MemoryAccess;
use luge_spec::nvme::LogPage;
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Number of ticks after which a command counts as lost.
pub(crate) const TIMEOUT_TICKS: u32 = 32;

/// The longest pause between two checks of a controller.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// The shortest pause between two checks, also while queue pairs wait to be created again.
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// Pause between two rounds of event requests, so that an SSD with very many events does not keep the thread busy.
const EVENT_PAUSE: Duration = Duration::from_millis(50);

/// Pause between two examinations of excluded namespaces.
const EXCLUDED_RETRY: Duration = Duration::from_secs(1);

/// Pause between two attempts to take the access to memory away from a failed controller.
const STUCK_RETRY: Duration = Duration::from_secs(1);

/// Handle to the supervisor's thread, which ends when the handle is dropped.
pub(crate) struct Supervisor {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

struct Stop {
    asked: AtomicBool,
    bell: OwnedFd,
}

impl Supervisor {
    pub(crate) fn start(inner: Arc<Inner>) -> Result<Self, ErrorKind> {
        let system = |what| move |source: std::io::Error| ErrorKind::System { what, source };
        let bell = eventfd(0, EventfdFlags::CLOEXEC).map_err(|e| system("make an eventfd")(e.into()))?;
        let stop = Arc::new(Stop { asked: AtomicBool::new(false), bell });
        let watch = Watcher::new(inner, stop.clone());
        let thread = std::thread::Builder::new()
            .name("nvme-supervisor".to_owned())
            .spawn(move || watch.run())
            .map_err(system("start a thread"))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop.asked.store(true, Ordering::Relaxed);
        let _ = rustix::io::write(&self.stop.bell, &1u64.to_ne_bytes());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that watches an SSD has ended by a fault of Luge: please report it");
        }
    }
}

impl Stop {
    fn asked(&self) -> bool {
        // Relaxed: the bell orders nothing either; the thread looks again after each wake-up.
        self.asked.load(Ordering::Relaxed)
    }
}

/// Kind of reset.
#[derive(Clone, Copy, Debug)]
enum Reset {
    /// Controller reset: 3.
    Controller,
    /// Function reset: 6.
    Function,
}

/// State of the supervisor's thread.
struct Watcher {
    inner: Arc<Inner>,
    stop: Arc<Stop>,
    /// Interrupt of the admin queue, unless another thread waits for it.
    interrupt: Option<Arc<OwnedFd>>,
    beat_at: Instant,
    armed_at: Instant,
    stuck_at: Instant,
    /// Number of failures in a row to create a queue pair again.
    refusals: u32,
    examined_at: Instant,
    /// Excluded namespace that was examined last.
    examined: NamespaceId,
    changes: Changes,
}

/// Namespaces to be examined, because the SSD has reported that some have changed.
#[derive(Default)]
struct Changes {
    /// Number of namespaces that are left.
    left: usize,
    /// Namespace that was examined last. The next round begins after it, so that each has its turn under reports
    /// without end.
    last: NamespaceId,
}

/// The most such failures after which a reset is tried.
const REFUSALS_MAX: u32 = 3;

impl Watcher {
    fn new(inner: Arc<Inner>, stop: Arc<Stop>) -> Self {
        let now = Instant::now();
        Self {
            inner,
            stop,
            interrupt: None,
            beat_at: now,
            armed_at: now,
            stuck_at: now,
            refusals: 0,
            examined_at: now,
            examined: NamespaceId(0),
            changes: Changes::default(),
        }
    }

    fn run(mut self) {
        let inner = self.inner.clone();
        let mut pause = PAUSE_MIN;
        while !self.stop.asked() {
            self.wait(pause);
            self.beat();
            // A thread that holds the lock waits for the interrupt itself.
            let control = inner.try_lock();
            self.interrupt = control.as_ref().and_then(|control| control.admin.interrupt());
            pause = control.map_or(PAUSE_MAX, |mut control| self.check(&mut control));
        }
    }

    fn wait(&self, pause: Duration) {
        // Limits how often an SSD that interrupts without end wakes the thread.
        wait_readable(&[&self.stop.bell], PAUSE_MIN);
        let mut fds = vec![&self.stop.bell];
        fds.extend(self.interrupt.as_deref());
        fds.extend(self.inner.registers.function().recall());
        wait_readable(&fds, pause.min(self.tick()));
    }

    fn tick(&self) -> Duration {
        let ticks = TIMEOUT_TICKS;
        self.inner.options.command_timeout.checked_div(ticks).unwrap_or(PAUSE_MAX).max(PAUSE_MIN)
    }

    fn beat(&mut self) {
        if self.beat_at.elapsed() >= self.tick() {
            self.beat_at = Instant::now();
            self.inner.health.beat();
        }
    }

    /// Checks the controller, and acts; returns the pause until the next check.
    fn check(&mut self, control: &mut Control) -> Duration {
        if self.inner.registers.function().recall().is_some_and(drain) {
            self.hand_back(control);
        }
        match self.inner.health.state() {
            ControllerState::Gone => return PAUSE_MAX,
            ControllerState::Stuck if self.stuck_at.elapsed() < STUCK_RETRY => return PAUSE_MAX,
            ControllerState::Stuck => self.give_up(control),
            ControllerState::Live => self.check_live(control),
        }
        let waiting = control.open.iter().any(|link| matches!(link.stage(), Stage::Quiet | Stage::Drained));
        if waiting || self.changes.left > 0 { PAUSE_MIN } else { PAUSE_MAX }
    }

    fn check_live(&mut self, control: &mut Control) {
        let fault = self.inner.health.take_fault().or_else(|| self.inner.registers.check().err());
        match fault.or_else(|| self.serve_events(control).err()) {
            Some(fault) => {
                self.recover(control, fault);
                self.inner.recoveries.end();
            }
            None => {
                self.examine_changed(control);
                self.examine_excluded(control);
                self.revive(control);
            }
        }
    }

    /// Examines one of the namespaces that may have changed. Only this keeps requests away from a namespace that
    /// another host has formatted: with larger blocks, transfers would be longer than their memory.
    fn examine_changed(&mut self, control: &mut Control) {
        if let Some(left) = self.changes.left.checked_sub(1) {
            let last = examine_next(&self.inner, control, self.changes.last);
            self.changes = Changes { left, last };
        }
    }

    /// Examines an excluded namespace from time to time.
    fn examine_excluded(&mut self, control: &mut Control) {
        if self.inner.exclusion.has_waiting() || self.examined_at.elapsed() >= EXCLUDED_RETRY {
            self.examined = examine_next_excluded(&self.inner, control, self.examined);
            self.examined_at = Instant::now();
        }
    }

    /// Takes events from the admin queue, and sends new event requests.
    fn serve_events(&mut self, control: &mut Control) -> Result<(), Fault> {
        if let Some(fd) = &self.interrupt {
            drain(fd);
        }
        control.admin.collect()?;
        while let Some(event) = control.admin.events.take() {
            let controller = self.inner.registers.name();
            tracing::warn!(controller, %event, "asynchronous event");
            self.inner.remember(event);
            if LogPage(event.log_page()) == LogPage::CHANGED_NAMESPACES {
                self.changes.left = self.inner.namespaces.usable.len();
            }
            if let Err(error) = control.admin.acknowledge(event) {
                tracing::warn!(controller, %error, "the event's log page cannot be read");
            }
        }
        if self.armed_at.elapsed() >= EVENT_PAUSE {
            self.armed_at = Instant::now();
            control.admin.arm_events();
        }
        Ok(())
    }

    /// Creates the queue pairs again whose channels have ended all requests: link 4 to 1.
    fn revive(&mut self, control: &mut Control) {
        for link in control.open.iter().filter(|link| link.stage() == Stage::Drained) {
            match control.admin.create_queue_pair(link.id, &link.memory) {
                Ok(()) => {
                    self.refusals = 0;
                    link.revive();
                }
                Err(error) => {
                    let controller = self.inner.registers.name();
                    tracing::error!(controller, queue = link.id.0, %error, "a queue pair cannot be made again: its requests fail");
                    self.refusals = self.refusals.saturating_add(1);
                    return self.inner.health.raise(Fault::Queue);
                }
            }
        }
    }

    /// 1 to 2, then 3 and 6 until one works, then 7 if none does.
    fn recover(&mut self, control: &mut Control, fault: Fault) {
        let controller = self.inner.registers.name();
        tracing::error!(controller, %fault, "resetting the SSD");
        control.admin.stop();
        control.open.iter().for_each(|link| link.halt());
        let resets = [Reset::Controller, Reset::Function];
        for reset in resets.into_iter().filter(|_| self.refusals <= REFUSALS_MAX) {
            match self.reset(control, reset) {
                Ok(()) => return tracing::warn!(controller, ?reset, "the SSD is back"),
                Err(error) => tracing::error!(controller, ?reset, %error, "reset failed"),
            }
        }
        self.give_up(control);
    }

    /// 3 or 6, then 4 and 5.
    fn reset(&self, control: &mut Control, reset: Reset) -> Result<(), ErrorKind> {
        let registers = &self.inner.registers;
        match reset {
            Reset::Controller => registers.disable()?,
            Reset::Function => registers.reset_function()?,
        }
        control.open.iter().for_each(|link| link.quiet());
        control.release_undeleted();
        // Faults that channels have reported until they were halted are dealt with.
        self.inner.health.take_fault();
        let found = identify(&mut control.admin, &self.inner.options)?;
        match found.differs_from(&self.inner.discovery, control.last_queue()) {
            Some(difference) => Err(ErrorKind::Changed(difference)),
            None => examine_all(&self.inner, control),
        }
    }

    /// 10, also for a controller that is Gone, since the host waits. The host asks again if this fails.
    fn hand_back(&self, control: &mut Control) {
        let controller = self.inner.registers.name();
        tracing::error!(controller, "the host wants the SSD back: its requests fail from now on");
        if let Err(error) = control.shut_down(&self.inner) {
            tracing::warn!(controller, %error, "the SSD did not shut down as it should");
        }
        match self.inner.registers.function().hand_back() {
            Ok(()) => {
                control.set_gone(&self.inner.health);
                tracing::warn!(controller, "the host has the SSD; detach it, so that it is forgotten here");
            }
            Err(error) => tracing::error!(controller, %error, "the SSD cannot be given back to the host yet"),
        }
    }

    /// 7, and 8 or 9.
    fn give_up(&mut self, control: &mut Control) {
        let controller = self.inner.registers.name();
        control.admin.stop();
        match self.inner.registers.set_bus_master(MemoryAccess::Forbidden) {
            Ok(()) => {
                tracing::error!(controller, "the SSD is given up: its requests fail from now on");
                control.set_gone(&self.inner.health);
            }
            Err(error) => {
                tracing::error!(controller, %error, "the SSD may still access memory: its requests wait");
                self.inner.health.set_state(ControllerState::Stuck);
                self.stuck_at = Instant::now();
            }
        }
    }
}

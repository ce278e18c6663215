//! A core, as all other threads see it.

use crate::account::{Account, Accounts};
use crate::answer::question;
use crate::load::Rings;
use crate::mailbox::{Mailbox, Ringer};
use crate::notify::NotifyError;
use crate::numa::node_of;
use crate::open_sources::OpenSources;
use crate::reactor::{Core, Links};
use crate::session::{Session, SessionId};
use crate::sleep::Epoll;
use crate::stall_watch::StallWatch;
use crate::stats::CoreStats;
use crate::tenant::Tenant;
use luge_block::CoreId;
use luge_memory::NumaNode;
use luge_volume::{Signal, SlotTimes, Ticks, tick_rate};
use rustix::process::nice;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use thiserror::Error;

/// Error of a core that did not start.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The CPU is not there, or not ours to use.
    #[error("CPU {cpu} cannot be used: {source}; choose CPUs of this machine that the process may use (-m)")]
    Cpu {
        /// The CPU.
        cpu: u16,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The thread could not be made.
    #[error("cannot start a thread for CPU {cpu}: {source}")]
    Thread {
        /// The CPU.
        cpu: u16,
        /// The kernel's answer.
        source: io::Error,
    },
}

struct Shared {
    id: CoreId,
    links: Links,
    node: Option<NumaNode>,
    rings: Rings,
    accounts: Accounts,
    open: OpenSources,
    attachments: AtomicUsize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A running core. Clones are the same core.
#[derive(Clone)]
pub struct CoreHandle(Arc<Shared>);

impl CoreHandle {
    /// Starts a thread that is pinned to CPU `id`.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn spawn(id: CoreId) -> Result<Self, SpawnError> {
        Self::start(id, |id| {
            pin(id)?;
            Ok(StallWatch::start())
        })
    }

    /// Starts a thread that runs on any CPU of the calling thread, behind all other threads.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub(crate) fn spawn_in_background(id: CoreId) -> Result<Self, SpawnError> {
        Self::start(id, |_| {
            // One that is not allowed to say so has lower priority than others already.
            let _ = nice(19);
            Ok(StallWatch::off())
        })
    }

    /// Starts a thread that prepares itself by `prepare`.
    fn start(id: CoreId, prepare: fn(CoreId) -> io::Result<StallWatch>) -> Result<Self, SpawnError> {
        let thread = |source| SpawnError::Thread { cpu: id.0, source };
        let mailbox = Mailbox::new().map_err(thread)?;
        let epoll = Epoll::new(mailbox.bell().as_fd()).map_err(thread)?;
        let signal = Arc::new(Signal::new(Box::new(Ringer(mailbox.bell().clone()))));
        let links = Links { mailbox, epoll, signal, stats: CoreStats::default() };
        let shared = Arc::new(Shared {
            id,
            links,
            node: node_of(Path::new("/sys/devices/system/cpu"), id),
            rings: Rings::default(),
            accounts: Accounts::default(),
            open: OpenSources::default(),
            attachments: AtomicUsize::default(),
            thread: Mutex::default(),
        });
        // Measured here: no core is to wait for that.
        let _ = tick_rate();
        let (started, ready) = sync_channel(1);
        let theirs = shared.clone();
        let join = std::thread::Builder::new()
            .name(format!("core-{}", id.0))
            .spawn(move || {
                let (watch, outcome) = match prepare(id) {
                    Ok(watch) => (Some(watch), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                if started.send(outcome).is_ok()
                    && let Some(watch) = watch
                {
                    let _guard = AbortOnPanic;
                    luge_trace::enter_core(id.0);
                    Core::new(id, theirs.links.signal.clone()).run(&theirs.links, &watch);
                }
            })
            .map_err(thread)?;
        let prepared = ready.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
        prepared.map_err(|source| SpawnError::Cpu { cpu: id.0, source })?;
        let core = Self(shared);
        *core.thread() = Some(join);
        Ok(core)
    }

    /// Number of the core: its CPU.
    #[must_use]
    pub fn id(&self) -> CoreId {
        self.0.id
    }

    /// The NUMA node of its CPU, where known.
    #[must_use]
    pub fn node(&self) -> Option<NumaNode> {
        self.0.node
    }

    /// Number of rings that it was chosen for.
    #[must_use]
    pub fn rings(&self) -> usize {
        self.0.rings.count()
    }

    /// Load to choose a core by: busy share of recent time, and more for rings that have just started.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.stats().load() + self.0.rings.expected(Ticks::now())
    }

    pub(crate) fn counted_rings(&self) -> &Rings {
        &self.0.rings
    }

    /// Counters of its time.
    #[must_use]
    pub fn stats(&self) -> &CoreStats {
        &self.0.links.stats
    }

    /// Does `task` on the core, between two turns, and waits for the result. What the
    /// closure owns is to come back in the result: a core drops nothing.
    pub fn call<R: Send + 'static>(&self, task: impl FnOnce(&mut Core) -> R + Send + 'static) -> R {
        let (question, answer) = question();
        self.send(move |core| answer.give(task(core)));
        question.wait()
    }

    /// Does `task` on the core, between two turns, and does not wait for it.
    pub(crate) fn send(&self, task: impl FnOnce(&mut Core) + Send + 'static) {
        self.0.links.mailbox.send(Box::new(task));
    }

    /// Lets the core serve a session of a tenant.
    ///
    /// # Errors
    /// [`NotifyError`] if its kick cannot be watched, and the session.
    pub fn add_session(
        &self,
        session: Box<dyn Session>,
        tenant: &Tenant,
    ) -> Result<SessionId, (NotifyError, Box<dyn Session>)> {
        if let Some(Err(error)) = session.kick().map(|kick| kick.watch(&self.0.links.epoll, 0)) {
            return Err((error, session));
        }
        let account = self.0.accounts.of(tenant);
        let mut times = SlotTimes::new(session.request_slots());
        let (added, _times_before) = self.call(move |core| (core.add(session, account, &mut times), times));
        added.map_err(|session| {
            session.kick().inspect(|kick| kick.unwatch(&self.0.links.epoll));
            (NotifyError::System(rustix::io::Errno::NOSPC), session)
        })
    }

    /// Takes a session off the core, and waits until nothing of it is in flight: as long as
    /// the slowest SSD takes.
    pub fn remove_session(&self, id: SessionId) -> Box<dyn Session> {
        let (question, answer) = question();
        self.send(move |core| core.remove(id, answer));
        let session = question.wait();
        session.kick().inspect(|kick| kick.unwatch(&self.0.links.epoll));
        session
    }

    /// Ends the thread. Sessions and volumes must be gone.
    pub fn stop(&self) {
        let Some(thread) = self.thread().take() else { return };
        self.call(|core| core.stop());
        // A core that panicked has taken the process along.
        let _ = thread.join();
    }

    /// Accounts of the tenants that have rings on the core.
    #[must_use]
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.0.accounts.all()
    }

    pub(crate) fn open_sources(&self) -> &OpenSources {
        &self.0.open
    }

    /// Signal by which the volumes of other cores reach those of this one.
    pub(crate) fn signal(&self) -> &Arc<Signal> {
        &self.0.links.signal
    }

    /// Number of volumes that are attached to it.
    pub(crate) fn attachments(&self) -> &AtomicUsize {
        &self.0.attachments
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.0.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pin(id: CoreId) -> io::Result<()> {
    let cpu = usize::from(id.0);
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// A core that stops half-way leaves guests without answers: better that all see the end.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

//! The core's thread: the parts it owns, its turns, the tasks between them, and its sleep.

use crate::account::Account;
use crate::answer::Answer;
use crate::mailbox::Mailbox;
use crate::schedule::Schedule;
use crate::session::{Armed, Session, SessionId};
use crate::sleep::{Epoll, Idleness, LEAD};
use crate::stall_watch::StallWatch;
use crate::stats::{CoreStats, Meter};
use luge_block::CoreId;
use luge_trace::{Event, Kind, record};
use luge_volume::{Graph, Signal, SlotTimes, Ticks, VolumeId};
use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

/// Function that tells that a volume has drained. Waits for nothing.
pub(crate) type Drained = Box<dyn FnOnce() + Send>;

/// Most tasks between two turns: they delay guests.
const TASKS_PER_TURN_MAX: usize = 4;

/// The parts of a core that other threads use, too.
pub(crate) struct Links {
    pub(crate) mailbox: Mailbox<Core>,
    pub(crate) epoll: Epoll,
    pub(crate) signal: Arc<Signal>,
    pub(crate) stats: CoreStats,
}

/// A core, as its own thread sees it. Others reach it through [`crate::CoreHandle`].
pub struct Core {
    id: CoreId,
    graph: Graph,
    schedule: Schedule,
    leaving: Vec<(SessionId, Answer<Box<dyn Session>>)>,
    /// Volumes of which somebody waits until what is in flight has ended.
    draining: Vec<(VolumeId, Drained)>,
    /// Time at which the last turn ended.
    turned: Ticks,
    stopping: bool,
    idleness: Idleness,
    meter: Meter,
}

impl Core {
    pub(crate) fn new(id: CoreId, signal: Arc<Signal>) -> Self {
        Self {
            id,
            graph: Graph::new(signal),
            schedule: Schedule::default(),
            leaving: Vec::new(),
            draining: Vec::new(),
            turned: Ticks::now(),
            stopping: false,
            idleness: Idleness::default(),
            meter: Meter::new(),
        }
    }

    /// Number of the core: its CPU.
    #[must_use]
    pub fn id(&self) -> CoreId {
        self.id
    }

    /// Channels and volumes of the core.
    pub fn graph(&mut self) -> &mut Graph {
        &mut self.graph
    }

    /// A session that it serves: for changes between two turns.
    pub fn session(&mut self, id: SessionId) -> Option<&mut dyn Session> {
        self.schedule.sessions().change(id)
    }

    /// A session that it serves, if that is of type `S`.
    pub fn session_as<S: Session>(&mut self, id: SessionId) -> Option<&mut S> {
        let session: &mut dyn Any = self.session(id)?;
        session.downcast_mut()
    }

    /// A session that it serves, if that is of type `S`, and the graph.
    pub fn session_and_graph<S: Session>(&mut self, id: SessionId) -> Option<(&mut S, &mut Graph)> {
        let session: &mut dyn Any = self.schedule.sessions().change(id)?;
        Some((session.downcast_mut()?, &mut self.graph))
    }

    /// Starts to serve a session of the tenant with this account, with `times` for its slots, for which those that its
    /// number had before come back. Gives it back where there are as many as tags can name.
    pub(crate) fn add(
        &mut self,
        session: Box<dyn Session>,
        account: Arc<Account>,
        times: &mut SlotTimes,
    ) -> Result<SessionId, Box<dyn Session>> {
        let id = self.schedule.add(session, account)?;
        self.graph.open_session(id.0, times);
        record(&Event::of_number(Kind::SESSION_STARTED, id.0.into()));
        Ok(id)
    }

    /// Gives a session back as soon as no request of it is in flight.
    pub(crate) fn remove(&mut self, id: SessionId, answer: Answer<Box<dyn Session>>) {
        let session = self.schedule.sessions().change(id);
        assert!(session.is_some(), "session {id:?} is taken off core {:?}, which does not have it", self.id);
        session.into_iter().for_each(|session| session.quiesce());
        self.leaving.push((id, answer));
    }

    /// Answers as soon as no request is in flight that a volume's fences, or its drain, wait for.
    pub(crate) fn answer_when_drained(&mut self, volume: VolumeId, answer: Drained) {
        self.draining.push((volume, answer));
    }

    /// Lets a volume take no request until nothing of it is in flight, and answers then.
    pub(crate) fn drain(&mut self, volume: VolumeId, answer: Drained) {
        self.graph.begin_drain(volume);
        self.answer_when_drained(volume, answer);
    }

    /// Takes a volume out of the graph. Who waits until it has drained is answered: its number may be another's next.
    pub(crate) fn remove_volume(&mut self, volume: VolumeId) {
        self.graph.remove_volume(volume);
        self.draining.extract_if(.., |(draining, _)| *draining == volume).for_each(|(_, answer)| answer());
    }

    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Hands out a session that has waited until nothing of it is in flight; returns whether there was one.
    fn let_go(&mut self) -> bool {
        let Self { schedule, leaving, .. } = self;
        let quiet = |(id, _): &(SessionId, _)| schedule.sessions().in_flight(*id) == Some(0);
        let Some(at) = leaving.iter().position(quiet) else { return false };
        let (id, answer) = leaving.swap_remove(at);
        if let Some(session) = schedule.remove(id) {
            record(&Event::of_number(Kind::SESSION_STOPPED, id.0.into()));
            answer.give(session);
        }
        true
    }

    /// Answers for a volume that has drained; returns whether there was one.
    fn answer_drained(&mut self) -> bool {
        let Self { graph, draining, .. } = self;
        let Some(at) = draining.iter().position(|&(volume, _)| graph.drain(volume)) else { return false };
        let (_, answer) = draining.swap_remove(at);
        answer();
        true
    }

    /// Whether nothing can happen before a kick, a task, or a time.
    fn arm(&mut self) -> bool {
        let mut sessions = self.schedule.sessions().iter_mut();
        sessions.all(|session| !session.needs_polling() && session.arm() == Armed::Quiet)
    }

    fn disarm(&mut self) {
        self.schedule.sessions().iter_mut().for_each(|session| session.disarm());
    }

    /// Time of the first turn that a session or a node needs although nothing happens.
    fn wake_at(&mut self) -> Option<Ticks> {
        let of_graph = self.graph.wake_at();
        self.schedule.sessions().iter().filter_map(Session::wake_at).chain(of_graph).min()
    }

    /// Turns until told to stop.
    pub(crate) fn run(mut self, links: &Links, watch: &StallWatch) {
        while !self.stopping {
            let mut busy = self.schedule.turn(&mut self.graph, self.turned);
            for task in std::iter::from_fn(|| links.mailbox.next()).take(TASKS_PER_TURN_MAX) {
                task(&mut self);
                busy = true;
            }
            if !self.leaving.is_empty() {
                busy |= self.let_go();
            }
            if !self.draining.is_empty() {
                busy |= self.answer_drained();
            }
            watch.turn_lasted(self.end_turn(&links.stats));
            self.meter.turn(busy, &links.stats);
            if busy {
                self.idleness.end();
            } else if self.idleness.turn() {
                self.rest(links);
            }
        }
    }

    /// Sleeps if it may; if only the SSDs are busy or a time is near, lets others have the CPU.
    fn rest(&mut self, links: &Links) {
        let wake_at = self.wake_at();
        if self.graph.needs_polling() || wake_at.is_some_and(is_near) {
            std::thread::yield_now();
        } else {
            if self.arm() && links.mailbox.fall_asleep() && links.signal.is_quiet() {
                self.sleep(links, wake_at);
            }
            links.mailbox.wake_up();
            self.disarm();
            self.schedule.wake();
        }
        self.turned = Ticks::now();
    }

    /// Notes the time at which a turn ends and the next one begins; returns the ticks that the turn took.
    #[inline]
    fn end_turn(&mut self, stats: &CoreStats) -> u64 {
        let now = Ticks::now();
        let took = now.0.saturating_sub(self.turned.0);
        stats.note_turn(took);
        self.turned = now;
        took
    }

    fn sleep(&mut self, Links { epoll, stats, .. }: &Links, wake_at: Option<Ticks>) {
        self.meter.close(stats);
        stats.fall_asleep(self.idleness.poll_window());
        let start = Instant::now();
        let limit = wake_at.map(|time| time.since(Ticks::now()).saturating_sub(LEAD));
        let woken = epoll.sleep(limit);
        self.idleness.slept(start.elapsed(), woken);
        self.meter.slept(stats);
    }
}

/// Whether a time comes before a sleep would be worth it.
fn is_near(time: Ticks) -> bool {
    time.since(Ticks::now()) < 2 * LEAD
}

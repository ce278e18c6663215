//! The core's thread: the parts it owns, and its turn.

use crate::answer::Answer;
use crate::mailbox::Mailbox;
use crate::session::{Armed, Session, SessionId};
use crate::sleep::{Epoll, Idleness, LEAD};
use crate::stall_watch::StallWatch;
use crate::stats::{CoreStats, Meter};
use luge_block::{CoreId, Tag};
use luge_volume::{Graph, Ticks, VolumeId, ticks};
use std::any::Any;
use std::time::Instant;

/// Most tasks between two turns: they delay guests.
const TASKS_PER_TURN_MAX: usize = 4;

/// The parts of a core that other threads use, too.
pub(crate) struct Links {
    pub(crate) mailbox: Mailbox<Core>,
    pub(crate) epoll: Epoll,
    pub(crate) stats: CoreStats,
}

/// A core, as its own thread sees it. Others reach it through [`crate::CoreHandle`].
pub struct Core {
    id: CoreId,
    graph: Graph,
    sessions: Vec<Option<Box<dyn Session>>>,
    leaving: Vec<(SessionId, Answer<Box<dyn Session>>)>,
    /// Volumes with fences that wait for what is in flight.
    draining: Vec<(VolumeId, Answer<()>)>,
    /// The session that takes first in the next turn: each has its turn at scarce room.
    first: usize,
    stopping: bool,
    idleness: Idleness,
    meter: Meter,
}

impl Core {
    pub(crate) fn new(id: CoreId) -> Self {
        Self {
            id,
            graph: Graph::default(),
            sessions: Vec::new(),
            leaving: Vec::new(),
            draining: Vec::new(),
            first: 0,
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
        let session = self.sessions.get_mut(usize::from(id.0))?.as_mut()?;
        Some(&mut **session)
    }

    /// A session that it serves, if that is of type `S`.
    pub fn session_as<S: Session>(&mut self, id: SessionId) -> Option<&mut S> {
        let session: &mut dyn Any = self.session(id)?;
        session.downcast_mut()
    }

    /// Starts to serve a session; gives it back where there are as many as tags can name.
    pub(crate) fn add(&mut self, mut session: Box<dyn Session>) -> Result<SessionId, Box<dyn Session>> {
        let index = self.sessions.iter().position(Option::is_none).unwrap_or(self.sessions.len());
        let id = u16::try_from(index).ok().filter(|&id| id < Tag::SESSIONS_MAX).map(SessionId);
        let Some(id) = id else { return Err(session) };
        session.adopt(id);
        if index == self.sessions.len() {
            self.sessions.push(None);
        }
        if let Some(place) = self.sessions.get_mut(index) {
            *place = Some(session);
        }
        Ok(id)
    }

    /// Gives a session back as soon as no request of it is in flight.
    pub(crate) fn remove(&mut self, id: SessionId, answer: Answer<Box<dyn Session>>) {
        let session = self.sessions.get_mut(usize::from(id.0)).and_then(Option::as_mut);
        assert!(session.is_some(), "session {id:?} is taken off core {:?}, which does not have it", self.id);
        session.into_iter().for_each(|session| session.quiesce());
        self.leaving.push((id, answer));
    }

    /// Answers as soon as no request is in flight that a volume's fences wait for.
    pub(crate) fn answer_when_drained(&mut self, volume: VolumeId, answer: Answer<()>) {
        self.draining.push((volume, answer));
    }

    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Takes a turn. Returns whether there was work.
    fn turn(&mut self) -> bool {
        let Self { graph, sessions, first, .. } = self;
        *first = if *first + 1 < sessions.len() { *first + 1 } else { 0 };
        let (later, sooner) = sessions.split_at_mut(*first);
        let in_turn = sooner.iter_mut().chain(later).flatten();
        let taken: usize = in_turn.map(|session| session.take(graph)).sum();
        graph.commit();
        let ended = graph.poll(|run| {
            let id = run.first().map_or(0, |end| end.tag().session());
            let session = sessions.get_mut(usize::from(id)).and_then(Option::as_mut);
            let Some(session) = session else { panic!("a request of session {id} ends, which is not there") };
            session.finish(run);
        });
        sessions.iter_mut().flatten().for_each(|session| session.publish());
        taken > 0 || ended > 0
    }

    /// Hands out a session that has waited until nothing of it is in flight; returns whether there was one.
    fn let_go(&mut self) -> bool {
        let sessions = &mut self.sessions;
        let quiet = |id: &SessionId| {
            sessions.get(usize::from(id.0)).and_then(Option::as_ref).is_some_and(|s| s.in_flight() == 0)
        };
        let Some(at) = self.leaving.iter().position(|(id, _)| quiet(id)) else { return false };
        let (id, answer) = self.leaving.swap_remove(at);
        if let Some(session) = self.sessions.get_mut(usize::from(id.0)).and_then(Option::take) {
            answer.give(session);
        }
        true
    }

    /// Answers for a volume that has drained; returns whether there was one.
    fn answer_drained(&mut self) -> bool {
        let Self { graph, draining, .. } = self;
        let Some(at) = draining.iter().position(|&(volume, _)| graph.drain(volume)) else { return false };
        draining.swap_remove(at).1.give(());
        true
    }

    /// Whether nothing can happen before a kick, a task, or a time.
    fn arm(&mut self) -> bool {
        let mut sessions = self.sessions.iter_mut().flatten();
        sessions.all(|session| !session.needs_polling() && session.arm() == Armed::Quiet)
    }

    fn disarm(&mut self) {
        self.sessions.iter_mut().flatten().for_each(|session| session.disarm());
    }

    /// Time of the first turn that a session or a node needs although nothing happens.
    fn wake_at(&self) -> Option<Ticks> {
        let times = self.sessions.iter().flatten().filter_map(|session| session.wake_at());
        times.chain(self.graph.wake_at()).min()
    }

    /// Turns until told to stop.
    pub(crate) fn run(mut self, links: &Links, watch: &StallWatch) {
        let mut started = ticks();
        while !self.stopping {
            let mut busy = self.turn();
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
            self.meter.turn(busy, &links.stats);
            let now = ticks();
            watch.turn_lasted(now.wrapping_sub(started));
            started = now;
            if busy {
                self.idleness.end();
            } else if self.idleness.turn() {
                self.rest(links);
                started = ticks();
            }
        }
    }

    /// Sleeps if it may; if only the SSDs are busy or a time is near, lets others have the CPU.
    fn rest(&mut self, links: &Links) {
        let wake_at = self.wake_at();
        if self.graph.needs_polling() || wake_at.is_some_and(is_near) {
            std::thread::yield_now();
        } else {
            if self.arm() && links.mailbox.fall_asleep() {
                self.sleep(links, wake_at);
            }
            links.mailbox.wake_up();
            self.disarm();
        }
        self.graph.let_time_pass();
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

//! What a core's thread owns, and its turn.

use crate::answer::Answer;
use crate::mailbox::Mailbox;
use crate::session::{Armed, Session, SessionId};
use crate::sleep::{Bed, Idleness};
use crate::stats::{CoreStats, Meter};
use luge_block::{CoreId, Tag};
use luge_volume::{Graph, VolumeId};
use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

/// Errands done between two turns, so that they delay guests little.
const ERRANDS_PER_TURN: usize = 4;

/// What a core's thread owns. Others reach it through [`crate::CoreHandle`].
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
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> CoreId {
        self.id
    }

    /// Its channels and volumes.
    pub fn graph(&mut self) -> &mut Graph {
        &mut self.graph
    }

    /// A session, if it is of that type: for changes that need no quiet.
    pub fn session<S: Session>(&mut self, id: SessionId) -> Option<&mut S> {
        let session = self.sessions.get_mut(usize::from(id.0))?.as_mut()?;
        let session: &mut dyn Any = &mut **session;
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

    /// Gives a session back as soon as nothing of it is in flight.
    pub(crate) fn remove(&mut self, id: SessionId, answer: Answer<Box<dyn Session>>) {
        let session = self.sessions.get_mut(usize::from(id.0)).and_then(Option::as_mut);
        assert!(session.is_some(), "session {id:?} is taken off core {:?}, which does not have it", self.id);
        session.into_iter().for_each(|session| session.quiesce());
        self.leaving.push((id, answer));
    }

    /// Answers as soon as nothing is in flight that a volume's fences wait for.
    pub(crate) fn answer_when_drained(&mut self, volume: VolumeId, answer: Answer<()>) {
        self.draining.push((volume, answer));
    }

    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// One turn. Returns whether anything happened.
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

    /// Hands out the sessions that were waiting for quiet and have it.
    fn let_go(&mut self) {
        let sessions = &mut self.sessions;
        let quiet = |id: &SessionId| {
            sessions.get(usize::from(id.0)).and_then(Option::as_ref).is_some_and(|s| s.in_flight() == 0)
        };
        let Some(at) = self.leaving.iter().position(|(id, _)| quiet(id)) else { return };
        let (id, answer) = self.leaving.swap_remove(at);
        if let Some(session) = self.sessions.get_mut(usize::from(id.0)).and_then(Option::take) {
            answer.give(session);
        }
    }

    /// Answers for one volume that has drained.
    fn answer_drained(&mut self) {
        let Self { graph, draining, .. } = self;
        if let Some(at) = draining.iter().position(|&(volume, _)| graph.drain(volume)) {
            draining.swap_remove(at).1.give(());
        }
    }

    /// Whether nothing can happen without a kick or an errand.
    fn arm(&mut self) -> bool {
        let mut sessions = self.sessions.iter_mut().flatten();
        sessions.all(|session| !session.needs_polling() && session.arm() == Armed::Quiet)
    }

    fn disarm(&mut self) {
        self.sessions.iter_mut().flatten().for_each(|session| session.disarm());
    }

    /// Turns until told to stop.
    pub(crate) fn run(mut self, mailbox: &Mailbox, bed: &Bed, stats: &Arc<CoreStats>) {
        let (mut idleness, mut meter) = (Idleness::default(), Meter::new());
        while !self.stopping {
            let mut busy = self.turn();
            for errand in std::iter::from_fn(|| mailbox.take()).take(ERRANDS_PER_TURN) {
                errand(&mut self);
                busy = true;
            }
            if !self.leaving.is_empty() {
                self.let_go();
            }
            if !self.draining.is_empty() {
                self.answer_drained();
                busy = true;
            }
            meter.turn(busy, stats);
            if busy {
                idleness.end();
            } else if idleness.turn() {
                self.rest((mailbox, bed), &mut idleness, (&mut meter, stats));
            }
        }
    }

    /// Sleeps if it may; if only the SSDs are busy, lets others have the CPU.
    fn rest(
        &mut self,
        (mailbox, bed): (&Mailbox, &Bed),
        idleness: &mut Idleness,
        (meter, stats): (&mut Meter, &CoreStats),
    ) {
        if self.graph.in_flight() > 0 {
            return std::thread::yield_now();
        }
        if self.arm() && mailbox.fall_asleep() {
            meter.close(stats);
            stats.fall_asleep(idleness.patience());
            let start = Instant::now();
            bed.sleep();
            idleness.slept(start.elapsed());
            meter.slept(stats);
        }
        mailbox.wake_up();
        self.disarm();
    }
}

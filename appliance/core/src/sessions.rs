//! The sessions of a core, by their numbers, and the list of those that have something to publish.

use crate::session::{Published, Session, SessionId, Took};
use luge_block::{Completion, Tag};
use luge_volume::{Graph, Work};

/// A session, and what its core notes of it.
struct Served {
    session: Box<dyn Session>,
    /// Turns in a row in which it had nothing.
    looks: u16,
    /// Whether it is in the list of those that publish.
    publishes: bool,
}

/// The sessions of a core.
#[derive(Default)]
pub(crate) struct Sessions {
    served: Vec<Option<Served>>,
    /// Sessions that took or finished requests in this turn, or owe their guest an interrupt.
    publishing: Vec<SessionId>,
}

impl Served {
    /// Puts the session into the list of those that publish, unless it is there.
    #[inline]
    fn publish_later(&mut self, id: SessionId, publishing: &mut Vec<SessionId>) {
        if !self.publishes {
            self.publishes = true;
            publishing.push(id);
        }
    }
}

impl Sessions {
    /// Adds a session; gives it back where there are as many as tags can name.
    pub(crate) fn add(&mut self, mut session: Box<dyn Session>) -> Result<SessionId, Box<dyn Session>> {
        let index = self.served.iter().position(Option::is_none).unwrap_or(self.served.len());
        let id = u16::try_from(index).ok().filter(|&id| id < Tag::SESSIONS_MAX).map(SessionId);
        let Some(id) = id else { return Err(session) };
        session.adopt(id);
        if index == self.served.len() {
            self.served.push(None);
            self.publishing.reserve(self.served.len());
        }
        if let Some(place) = self.served.get_mut(index) {
            *place = Some(Served { session, looks: 0, publishes: false });
        }
        Ok(id)
    }

    /// Takes a session out.
    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Box<dyn Session>> {
        self.publishing.retain(|&other| other != id);
        Some(self.served.get_mut(usize::from(id.0))?.take()?.session)
    }

    /// A session, for a change; it publishes at the end of the next turn.
    pub(crate) fn change(&mut self, id: SessionId) -> Option<&mut dyn Session> {
        let Self { served, publishing } = self;
        let served = served.get_mut(usize::from(id.0))?.as_mut()?;
        served.publish_later(id, publishing);
        Some(&mut *served.session)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Session> {
        self.served.iter().flatten().map(|served| &*served.session)
    }

    /// All of them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Box<dyn Session>> {
        self.served.iter_mut().flatten().map(|served| &mut served.session)
    }

    /// Requests of a session that were taken and are not finished; none where it is gone.
    pub(crate) fn in_flight(&self, id: SessionId) -> Option<usize> {
        let served = self.served.get(usize::from(id.0))?.as_ref()?;
        Some(served.session.in_flight())
    }

    /// Lets a session take requests.
    #[inline]
    pub(crate) fn take(&mut self, id: SessionId, graph: &mut Graph, allowance: Work) -> Took {
        let Self { served, publishing } = self;
        let Some(served) = served.get_mut(usize::from(id.0)).and_then(Option::as_mut) else {
            return Took::Nothing;
        };
        let took = served.session.take(graph, allowance);
        if matches!(took, Took::Work(_)) {
            served.looks = 0;
            served.publish_later(id, publishing);
        }
        took
    }

    /// Counts a turn in which a session had nothing; returns the number of those in a row.
    #[inline]
    pub(crate) fn count_look(&mut self, id: SessionId) -> u16 {
        let served = self.served.get_mut(usize::from(id.0)).and_then(Option::as_mut);
        served.map_or(0, |served| {
            served.looks = served.looks.saturating_add(1);
            served.looks
        })
    }

    /// Finishes requests of one session.
    ///
    /// # Panics
    /// If it is not there: a completion was made up.
    #[inline]
    pub(crate) fn finish(&mut self, run: &[Completion]) {
        let id = run.first().map_or(0, |end| end.tag().session());
        let Self { served, publishing } = self;
        let session = served.get_mut(usize::from(id)).and_then(Option::as_mut);
        let Some(served) = session else { panic!("a request of session {id} ends, which is not there") };
        served.session.finish(run);
        served.publish_later(SessionId(id), publishing);
    }

    /// Lets the sessions publish that have something to show. Those that owe an interrupt stay in the list.
    #[inline]
    pub(crate) fn publish(&mut self) {
        let Self { served, publishing } = self;
        publishing.retain(|id| {
            let Some(served) = served.get_mut(usize::from(id.0)).and_then(Option::as_mut) else {
                return false;
            };
            served.publishes = served.session.publish() == Published::Owing;
            served.publishes
        });
    }
}

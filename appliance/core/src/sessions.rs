//! The sessions of a core, by their numbers, and the list of those that have something to publish.

use crate::session::{Session, SessionId};
use luge_block::{Completion, Tag};

/// A session that is served, and what its core notes of it.
pub(crate) struct Served {
    pub(crate) session: Box<dyn Session>,
    /// Visits in a row in which it had nothing.
    pub(crate) looks: u16,
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

    /// A session, for a change; it publishes at the end of the next turn. None that is gone.
    pub(crate) fn change(&mut self, id: SessionId) -> Option<&mut dyn Session> {
        self.served.get(usize::from(id.0))?.as_ref()?;
        self.publish_later(id);
        Some(&mut *self.served(id).session)
    }

    /// A session that the core serves.
    ///
    /// # Panics
    /// If it is gone: lists of the core have only sessions that are there.
    #[inline]
    pub(crate) fn served(&mut self, id: SessionId) -> &mut Served {
        let served = self.served.get_mut(usize::from(id.0)).and_then(Option::as_mut);
        let Some(served) = served else { panic!("session {} is not there", id.0) };
        served
    }

    /// The session of requests that have ended, of one session all; it publishes in this turn.
    ///
    /// # Panics
    /// If it is gone: a completion was made up.
    #[inline]
    pub(crate) fn ended(&mut self, run: &[Completion]) -> &mut dyn Session {
        let id = SessionId(run.first().map_or(0, |end| end.tag().session()));
        self.publish_later(id);
        &mut *self.served(id).session
    }

    /// Puts a session into the list of those that publish, unless it is there.
    #[inline]
    pub(crate) fn publish_later(&mut self, id: SessionId) {
        let served = self.served(id);
        if !std::mem::replace(&mut served.publishes, true) {
            self.publishing.push(id);
        }
    }

    /// Calls `publish` for the sessions of the list. Those for which it returns true stay there.
    #[inline]
    pub(crate) fn publish(&mut self, publish: impl Fn(&mut dyn Session) -> bool) {
        let Self { served, publishing } = self;
        publishing.retain(|id| {
            let Some(served) = served.get_mut(usize::from(id.0)).and_then(Option::as_mut) else {
                return false;
            };
            served.publishes = publish(&mut *served.session);
            served.publishes
        });
    }

    /// All sessions.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Session> {
        self.served.iter().flatten().map(|served| &*served.session)
    }

    /// All sessions.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Box<dyn Session>> {
        self.served.iter_mut().flatten().map(|served| &mut served.session)
    }

    /// Requests of a session that were taken and are not finished; none where it is gone.
    pub(crate) fn in_flight(&self, id: SessionId) -> Option<usize> {
        let served = self.served.get(usize::from(id.0))?.as_ref()?;
        Some(served.session.in_flight())
    }
}

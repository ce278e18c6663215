//! Sessions of a tenant that are looked at in turn.

use crate::session::SessionId;

/// Sessions that are looked at in turn.
#[derive(Default)]
pub(crate) struct Rotation {
    sessions: Vec<SessionId>,
    /// Place of the session whose turn is next.
    next: usize,
}

impl Rotation {
    /// Number of sessions.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Place of the session whose turn is next.
    #[inline]
    pub(crate) fn place(&self) -> usize {
        self.next
    }

    /// Makes room for so many more sessions.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.sessions.reserve(more);
    }

    /// Adds a session.
    #[inline]
    pub(crate) fn push(&mut self, id: SessionId) {
        self.sessions.push(id);
    }

    /// Takes a session out, wherever it is.
    pub(crate) fn remove(&mut self, id: SessionId) {
        self.sessions.retain(|&other| other != id);
    }

    /// Adds all sessions of another one.
    pub(crate) fn append(&mut self, other: &mut Self) {
        self.sessions.append(&mut other.sessions);
    }

    /// The session whose turn it is, and its place.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(usize, SessionId)> {
        if self.next >= self.sessions.len() {
            self.next = 0;
        }
        let at = self.next;
        let id = *self.sessions.get(at)?;
        self.next = at.wrapping_add(1);
        Some((at, id))
    }

    /// Lets the session after the one at a place be the next one.
    #[inline]
    pub(crate) fn begin_after(&mut self, at: usize) {
        let after = at.wrapping_add(1);
        self.next = if after < self.sessions.len() { after } else { 0 };
    }

    /// Takes out the session at a place whose turn has just been.
    pub(crate) fn take_out(&mut self, at: usize) -> SessionId {
        self.next = at;
        self.sessions.swap_remove(at)
    }
}

//! A wait for requests in flight on all queues of an adapter.
//!
//! ```text
//!  (1) asked   --a session waits for as many others as it can--> (1), asked again when one of those is over
//!  (1) asked   --every session has ended its requests, or keeps the token--> (2) known
//!  (2) known   --all have given the token back--> (3) over
//! ```

use super::sessions::{SeatName, Sessions};
use crate::scsi::cancel::{Cancelled, CancelledAs, Scope};
use crate::scsi::drain::Drain;
use crate::scsi::session::RequestSession;
use std::sync::Arc;

/// A wait for requests in flight on all queues of an adapter.
pub(super) struct Cancellation {
    scope: Scope,
    end: CancelledAs,
    token: Arc<Drain>,
    /// Sessions that do not know of it.
    unasked: Vec<SeatName>,
}

impl Cancellation {
    /// To (1): asks all sessions of request queues.
    pub(super) fn begin(scope: Scope, end: CancelledAs, token: Arc<Drain>, sessions: &Sessions) -> Self {
        let unasked = sessions.requests().collect();
        let mut cancellation = Self { scope, end, token, unasked };
        cancellation.is_known(sessions);
        cancellation
    }

    /// Asks those sessions again that could not wait; returns whether all know, (2).
    pub(super) fn is_known(&mut self, sessions: &Sessions) -> bool {
        let mut unasked = std::mem::take(&mut self.unasked);
        unasked.retain(|&name| !self.ask(sessions, name));
        self.unasked = unasked;
        self.unasked.is_empty()
    }

    /// Asks a session; returns whether it knows, or has left.
    fn ask(&self, sessions: &Sessions, name: SeatName) -> bool {
        let Some(seat) = sessions.get(name) else { return true };
        let (scope, end, token) = (self.scope, self.end, self.token.clone());
        let answer = seat.call(move |session: &mut RequestSession| session.cancel(scope, end, token));
        // A token that comes back is dropped here.
        !matches!(answer, Some(Cancelled::Full(_)))
    }

    /// Whether it is over, (3).
    pub(super) fn is_over(&mut self, sessions: &Sessions) -> bool {
        self.is_known(sessions) && Drain::is_over(&mut self.token)
    }
}

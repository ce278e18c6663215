//! Waits for requests that are to end: for task management, and for LUNs that go.

use super::drain::Drain;
use super::lun::{LunAddress, LunPlace};
use std::sync::Arc;

/// Requests of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Requests with a tag, to a LUN.
    Task {
        /// The LUN.
        lun: LunAddress,
        /// The tag.
        tag: u64,
    },
    /// All to a LUN.
    Lun(LunAddress),
    /// All to a target.
    Target(u8),
    /// All.
    All,
}

impl Scope {
    /// Whether a request with that tag, for that place, is in the scope.
    pub(super) fn has(self, place: LunPlace, of: u64) -> bool {
        let is = |lun: LunAddress| place == LunPlace::Lun(lun);
        match self {
            Self::Task { lun, tag } => is(lun) && tag == of,
            Self::Lun(lun) => is(lun),
            Self::Target(target) => place.target() == Some(target),
            Self::All => true,
        }
    }

    /// Whether requests for that place can be in the scope.
    pub(super) fn covers(self, place: LunPlace) -> bool {
        match self {
            Self::Task { tag, .. } => self.has(place, tag),
            Self::Lun(_) | Self::Target(_) | Self::All => self.has(place, 0),
        }
    }
}

/// Response of requests that are waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CancelledAs {
    /// ABORTED.
    Aborted,
    /// RESET.
    Reset,
    /// Their own: their LUN goes.
    Nothing,
}

/// Outcome of the cancellation of requests.
#[derive(Debug)]
pub enum Cancelled {
    /// No request was concerned: the token.
    Over(Arc<Drain>),
    /// The session keeps the token until the requests have ended and the guest can see it; then it drops it and rings
    /// the relay's bell.
    Waiting,
    /// The session waits for as many cancellations as it can, and has done nothing: the token. Try again when one is
    /// over.
    Full(Arc<Drain>),
}

//! Messages of a client, and the answers to them.

use luge_spec::vfio_user::Header;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes, Unaligned};

/// Message of a client, as it was received.
pub(super) struct Message {
    pub(super) header: Header,
    /// Bytes after the header.
    pub(super) payload: Vec<u8>,
    /// Files that came with it. Those that nobody takes are closed.
    pub(super) files: Files,
}

/// Files that came with a message.
#[derive(Default)]
pub(super) struct Files {
    pub(super) list: Vec<OwnedFd>,
    /// Whether there were more than a message may have; the others are closed already.
    pub(super) are_too_many: bool,
}

impl Files {
    /// Files of a message that may have some.
    pub(super) fn take(self) -> Result<Vec<OwnedFd>, Refusal> {
        if self.are_too_many { Err(Refusal(Errno::INVAL)) } else { Ok(self.list) }
    }
}

/// Refusal of a message: its client is told the error, and stays connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) Errno);

/// Answer to a message.
pub(super) enum Answer {
    /// A reply.
    Now(Reply),
    /// A reply that waits for requests in flight.
    Later(Reply),
}

/// Reply with what follows its header.
#[derive(Default)]
pub(super) struct Reply {
    pub(super) payload: Vec<u8>,
    pub(super) file: Option<Arc<OwnedFd>>,
}

impl Reply {
    /// A reply without payload.
    pub(super) fn empty() -> Self {
        Self::default()
    }

    /// A reply with one structure.
    pub(super) fn of(payload: &(impl IntoBytes + Immutable)) -> Self {
        Self { payload: payload.as_bytes().to_vec(), file: None }
    }
}

/// The structure at the start of a payload, and what follows it.
pub(super) fn split<T>(payload: &[u8]) -> Result<(T, &[u8]), Refusal>
where
    T: FromBytes + Unaligned,
{
    T::read_from_prefix(payload).map_err(|_| Refusal(Errno::INVAL))
}

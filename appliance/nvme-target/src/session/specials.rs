//! The special commands of a session: those that are more than one request, or more than one completion.

use super::attempt::Untaken;
use crate::commands::CommandStatus;
use luge_volume::VolumeId;

/// Most special commands at the same time.
const SPECIALS_MAX: usize = 16;

/// Flush of all namespaces.
#[derive(Clone, Copy)]
pub(super) struct FlushAll {
    /// Index of the next namespace, if it is there; none after the last.
    pub(super) next: Option<usize>,
    /// Requests that have not ended.
    pub(super) outstanding: usize,
    /// First failure.
    pub(super) status: CommandStatus,
}

/// State of a special command.
#[derive(Clone, Copy)]
pub(super) enum State {
    /// Fused pair, whose second command has a slot of its own.
    Pair { second: u16 },
    /// Flush of all namespaces.
    FlushAll(FlushAll),
    /// Write of zeroes that have not ended.
    Zeroes(VolumeId),
    /// Flush after zeroes that have ended, to be submitted.
    ToFlush(VolumeId),
    /// Flush after zeroes.
    Flush,
}

/// A special command.
#[derive(Clone, Copy)]
pub(super) struct Special {
    pub(super) slot: u16,
    pub(super) state: State,
}

/// The special commands of a session.
#[derive(Default)]
pub(super) struct Specials(heapless::Vec<Special, SPECIALS_MAX>);

impl Specials {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails where there is no room for another one.
    pub(super) fn check_room(&self) -> Result<(), Untaken> {
        if self.0.is_full() { Err(Untaken::Full) } else { Ok(()) }
    }

    /// Adds the command in a slot; there is room.
    pub(super) fn add(&mut self, slot: u16, state: State) {
        self.0.push(Special { slot, state }).unwrap_or(());
    }

    /// Number of special commands.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes out the first one.
    pub(super) fn take_first(&mut self) -> Option<Special> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    /// Whether one of them has a request to submit.
    pub(super) fn wait(&self) -> bool {
        self.0.iter().any(|special| match special.state {
            State::FlushAll(flush) => flush.next.is_some(),
            State::ToFlush(_) => true,
            State::Pair { .. } | State::Zeroes(_) | State::Flush => false,
        })
    }

    /// Whether one of them will submit more to a volume that no namespace has any more.
    pub(super) fn use_volume(&self, volume: VolumeId) -> bool {
        self.0.iter().any(|special| match special.state {
            State::Zeroes(used) | State::ToFlush(used) => used == volume,
            State::Pair { .. } | State::FlushAll(_) | State::Flush => false,
        })
    }

    /// Takes out the command in a slot, if it is a special one.
    pub(super) fn take(&mut self, slot: u16) -> Option<State> {
        let at = self.0.iter().position(|special| special.slot == slot)?;
        Some(self.0.swap_remove(at).state)
    }
}

impl FlushAll {
    /// Notes the result of a request.
    pub(super) fn note(&mut self, status: CommandStatus) {
        if self.status.is_success() {
            self.status = status;
        }
    }
}

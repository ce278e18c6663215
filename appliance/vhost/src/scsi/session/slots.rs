//! Requests in flight: a slot for each descriptor at which a chain can start.

use crate::scsi::cancel::{CancelledAs, Scope};
use crate::scsi::lun::LunPlace;
use crate::scsi::response::{WholeResponse, store_good};
use luge_block::{Durability, Lba, Operation, Tag};
use luge_scsi::BlockCommand;
use luge_spec::virtio::scsi::Response;
use luge_virtqueue::{Head, QueueSize};

/// State of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum State {
    Free,
    /// A read or write that the volume has: all of its data, and a response in one span. Nobody waits for its end.
    Transfer,
    /// A transfer that somebody waits for.
    AwaitedTransfer,
    /// Any other request that the volume has, or is to get.
    Submitted,
    /// A request without room, which has not begun.
    Parked,
    /// A request that the adapter's thread has, or that it has left to the core.
    Away,
}

/// Response that a request gets instead of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Mark {
    None,
    Aborted,
    Reset,
}

impl Mark {
    /// The response; none where the request gets its own.
    pub(super) fn response(self) -> Option<Response> {
        match self {
            Self::None => None,
            Self::Aborted => Some(Response::ABORTED),
            Self::Reset => Some(Response::RESET),
        }
    }
}

impl From<CancelledAs> for Mark {
    fn from(end: CancelledAs) -> Self {
        match end {
            CancelledAs::Aborted => Self::Aborted,
            CancelledAs::Reset => Self::Reset,
            CancelledAs::Nothing => Self::None,
        }
    }
}

/// A word of a slot that says whose it is and what becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(align(8))]
pub(super) struct Kind {
    pub(super) state: State,
    pub(super) mark: Mark,
    /// Whether somebody waits for its end.
    pub(super) awaited: bool,
    /// Index of more memory for the request; [`NO_EXTRA`] for none.
    pub(super) extra: u8,
    pub(super) place: LunPlace,
}

/// Index of no more memory.
pub(super) const NO_EXTRA: u8 = u8::MAX;

impl Kind {
    /// A request that is in a state, for a place.
    #[inline]
    pub(super) fn new(state: State, place: LunPlace) -> Self {
        Self { state, mark: Mark::None, awaited: false, extra: NO_EXTRA, place }
    }

    /// Notes that somebody waits for its end, and the response that it then gets.
    fn wait_for(&mut self, mark: Mark) {
        self.awaited = true;
        if self.state == State::Transfer {
            self.state = State::AwaitedTransfer;
        }
        if self.mark == Mark::None {
            self.mark = mark;
        }
    }
}

/// A request in flight, in a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    /// Place of the response, if that is one span.
    pub(super) response: Option<WholeResponse>,
    pub(super) tag: u64,
    pub(super) lba: Lba,
    pub(super) blocks: u32,
    /// Bytes written to the guest on success, the response included.
    pub(super) written: u32,
    pub(super) kind: Kind,
    /// Bytes of data that the initiator has given.
    pub(super) bytes: u32,
    /// Bytes of them that are not transferred on success. Zero for a transfer.
    pub(super) residual: u32,
    /// Operation; that of a transfer is in its completion.
    pub(super) operation: Operation,
}

const _: () = assert!(size_of::<Slot>() == 64);

impl Slot {
    pub(super) const FREE: Self = Self {
        response: None,
        tag: 0,
        lba: Lba(0),
        blocks: 0,
        written: 0,
        kind: Kind {
            state: State::Free,
            mark: Mark::None,
            awaited: false,
            extra: NO_EXTRA,
            place: LunPlace::ReportLuns(None),
        },
        bytes: 0,
        residual: 0,
        operation: Operation::Flush,
    };

    /// The command, as far as its end needs it.
    pub(super) fn command(&self) -> BlockCommand {
        let Self { operation, lba, blocks, .. } = *self;
        BlockCommand { operation, lba, blocks, data_blocks: 0 }
    }

    /// The read or write that has that tag.
    pub(super) fn transfer(&self, tag: Tag) -> BlockCommand {
        let reads = tag.kind() == luge_block::Kind::Read;
        let operation = if reads { Operation::Read } else { Operation::Write(Durability::Cache) };
        BlockCommand { operation, ..self.command() }
    }

    /// Whether the request is in a scope.
    fn is_in(&self, scope: Scope) -> bool {
        self.kind.state != State::Free && scope.has(self.kind.place, self.tag)
    }
}

/// The slots of a queue. Does not grow.
pub(super) struct Slots {
    slots: Box<[Slot]>,
    busy: usize,
}

impl Slots {
    pub(super) fn new(size: QueueSize) -> Self {
        Self { slots: vec![Slot::FREE; size.get().into()].into_boxed_slice(), busy: 0 }
    }

    /// Number of slots.
    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Number of slots that are not free.
    #[inline]
    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    /// The slot of a chain that is not in flight, to be filled and counted; none for one that is.
    #[inline]
    pub(super) fn vacant(&mut self, head: Head) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(head.0)).filter(|slot| slot.kind.state == State::Free)
    }

    /// Whether a chain is not in flight.
    #[inline]
    pub(super) fn is_vacant(&self, head: Head) -> bool {
        self.slots.get(usize::from(head.0)).is_some_and(|slot| slot.kind.state == State::Free)
    }

    /// Counts slots that were filled.
    #[inline]
    pub(super) fn add_busy(&mut self, filled: usize) {
        self.busy = self.busy.wrapping_add(filled);
    }

    /// Fills a slot that is vacant.
    pub(super) fn fill(&mut self, head: Head, slot: Slot) {
        if let Some(place) = self.vacant(head) {
            *place = slot;
            self.add_busy(1);
        }
    }

    /// A slot that is in use.
    ///
    /// # Panics
    /// If it is free: a mistake of ours, after which no slot can be trusted.
    pub(super) fn used(&mut self, head: Head) -> &mut Slot {
        let slot = self.slots.get_mut(usize::from(head.0)).filter(|slot| slot.kind.state != State::Free);
        slot.expect("a request ends that is not in flight")
    }

    /// Frees a slot; returns the request.
    ///
    /// # Panics
    /// As of [`Self::used`].
    pub(super) fn free(&mut self, head: Head) -> Slot {
        self.busy = self.busy.wrapping_sub(1);
        std::mem::replace(self.used(head), Slot::FREE)
    }

    /// Ends a transfer that has succeeded; returns the bytes written. None, and nothing is done, if the slot has any other
    /// request. The slot is to be counted.
    ///
    /// # Panics
    /// As of [`Self::used`].
    #[inline]
    pub(super) fn succeed(&mut self, head: Head) -> Option<u32> {
        let slot = self.slots.get_mut(usize::from(head.0)).expect("a request ends that is not in flight");
        let response = slot.response.filter(|_| slot.kind.state == State::Transfer)?;
        store_good(response);
        slot.kind.state = State::Free;
        Some(slot.written)
    }

    /// Counts slots that were freed by [`Self::succeed`].
    #[inline]
    pub(super) fn remove_busy(&mut self, freed: usize) {
        self.busy = self.busy.wrapping_sub(freed);
    }

    /// Whether a request is in flight that is in a scope.
    pub(super) fn any(&self, scope: Scope) -> bool {
        self.busy > 0 && self.slots.iter().any(|slot| slot.is_in(scope))
    }

    /// Marks all requests of a scope as awaited, to be ended as `end` says: where they get their own responses, only those
    /// that have begun. Returns the first.
    pub(super) fn await_all(&mut self, scope: Scope, end: CancelledAs) -> Option<usize> {
        let mark = Mark::from(end);
        let mut first = None;
        let counts = |slot: &Slot| mark != Mark::None || slot.kind.state != State::Parked;
        let mut slots = self.slots.iter_mut().enumerate();
        while let Some((index, slot)) = slots.find(|(_, slot)| slot.is_in(scope) && counts(slot)) {
            slot.kind.wait_for(mark);
            first.get_or_insert(index);
        }
        first
    }

    /// Index, from `from` on, of the first request of a scope that is awaited.
    pub(super) fn next_awaited(&self, scope: Scope, from: usize) -> Option<usize> {
        let slots = self.slots.get(from..).unwrap_or_default();
        let at = slots.iter().position(|slot| slot.kind.awaited && slot.is_in(scope))?;
        Some(from.wrapping_add(at))
    }
}

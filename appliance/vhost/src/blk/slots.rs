//! What is in flight: a slot for each descriptor that a chain can start at.

use luge_block::{Completion, Status};
use luge_memory::SharedByte;
use luge_spec::virtio::blk::RequestStatus;
use luge_virtqueue::{Head, QueueSize};
use luge_volume::Stats;
use std::sync::Arc;

/// A request in flight. Four fit a cache line.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Where the status byte goes; none in a free slot.
    status: Option<SharedByte>,
    /// Bytes written to the guest if all goes well, the status byte included.
    written: u32,
    /// Parts that have not ended beyond the last one: zero in nearly all slots, and in a free one.
    more_parts: u16,
    /// The first failure of a part; OK in a free slot.
    result: RequestStatus,
}

const _: () = assert!(size_of::<Slot>() == 16);

const FREE: Slot = Slot { status: None, written: 0, more_parts: 0, result: RequestStatus::OK };

/// Whether the device has taken a part of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Taken,
    Untaken,
}

/// A slot for the request that is to begin.
pub(super) struct FreeSlot<'a> {
    slot: &'a mut Slot,
    busy: &'a mut usize,
}

impl FreeSlot<'_> {
    /// The request begins, with its first part.
    #[inline]
    pub(super) fn begin(self, status: SharedByte, written: u32) {
        // The rest of a free slot is as it must be.
        (self.slot.status, self.slot.written) = (Some(status), written);
        *self.busy = self.busy.wrapping_add(1);
    }
}

/// The slots of a queue. Does not grow.
pub(super) struct Slots {
    slots: Box<[Slot]>,
    busy: usize,
    /// The volume's, on the session's core: for requests that fail.
    stats: Arc<Stats>,
}

impl Slots {
    pub(super) fn new(size: QueueSize, stats: Arc<Stats>) -> Self {
        Self { slots: vec![FREE; size.get().into()].into_boxed_slice(), busy: 0, stats }
    }

    /// How many are busy.
    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    /// The slot of a chain that is not in flight; none for one that is.
    #[inline]
    pub(super) fn free(&mut self, head: Head) -> Option<FreeSlot<'_>> {
        let Self { slots, busy, .. } = self;
        let slot = slots.get_mut(usize::from(head.0))?;
        if slot.status.is_some() {
            return None;
        }
        Some(FreeSlot { slot, busy })
    }

    /// A request that was begun was not taken: as if it had not begun.
    pub(super) fn forget(&mut self, head: Head) {
        if let Some(slot) = self.slots.get_mut(usize::from(head.0)) {
            *slot = FREE;
            self.busy = self.busy.wrapping_sub(1);
        }
    }

    /// Whether one part more can be counted.
    pub(super) fn has_room(&self, head: Head) -> bool {
        self.slots.get(usize::from(head.0)).is_some_and(|slot| slot.more_parts < u16::MAX)
    }

    /// Whether a part of a request has failed.
    pub(super) fn has_failed(&self, head: Head) -> bool {
        self.slots.get(usize::from(head.0)).is_some_and(|slot| slot.result != RequestStatus::OK)
    }

    /// A part was submitted, and it was not the last.
    pub(super) fn add_part(&mut self, head: Head) {
        if let Some(slot) = self.slots.get_mut(usize::from(head.0)) {
            slot.more_parts = slot.more_parts.saturating_add(1);
        }
    }

    /// A part has ended. If it was the last, the request has, too: its chain, and how many bytes
    /// were written to it.
    ///
    /// # Panics
    /// If no such request is in flight: a mistake of ours, after which no slot can be trusted.
    #[inline]
    pub(super) fn end_part(&mut self, end: Completion, part: Part) -> Option<(Head, u32)> {
        let head = Head(end.tag().slot());
        let slot = self.slots.get_mut(usize::from(head.0));
        let in_flight = slot.and_then(|slot| Some((slot.status?, slot)));
        let (place, slot) = in_flight.expect("a request ends that is not in flight");
        let whole = end.succeeded() && slot.more_parts == 0 && slot.result == RequestStatus::OK;
        let (result, written) =
            if whole { (RequestStatus::OK, slot.written) } else { slot.end_unusual(end, part, &self.stats)? };
        place.store(result.0);
        slot.status = None;
        self.busy = self.busy.wrapping_sub(1);
        Some((head, written))
    }
}

impl Slot {
    /// Ends a part of a request that has several, or that fails. If it was the last: the request's
    /// result, and how many bytes were written.
    #[cold]
    #[inline(never)]
    fn end_unusual(&mut self, end: Completion, part: Part, stats: &Stats) -> Option<(RequestStatus, u32)> {
        if !end.succeeded() {
            match part {
                Part::Taken => stats.fail(end.status()),
                Part::Untaken => stats.refuse(end.status()),
            }
            if self.result == RequestStatus::OK {
                self.result = request_status(end.status());
            }
        }
        if let Some(more) = self.more_parts.checked_sub(1) {
            self.more_parts = more;
            return None;
        }
        let result = std::mem::replace(&mut self.result, RequestStatus::OK);
        // After a failure only the status byte is certain to be there.
        Some((result, if result == RequestStatus::OK { self.written } else { 1 }))
    }
}

/// A status of ours as one of theirs.
fn request_status(status: Status) -> RequestStatus {
    match status {
        Status::Success => RequestStatus::OK,
        Status::Unsupported => RequestStatus::UNSUPP,
        Status::OutOfRange
        | Status::Invalid
        | Status::WriteProtected
        | Status::NoSpace
        | Status::MediaError
        | Status::DeviceError
        | Status::Aborted
        | Status::Gone => RequestStatus::IOERR,
    }
}

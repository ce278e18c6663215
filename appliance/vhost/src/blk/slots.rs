//! Requests in flight: a slot for each descriptor at which a chain can start.

use luge_block::{Completion, Status};
use luge_memory::SharedByte;
use luge_spec::virtio::blk::RequestStatus;
use luge_virtqueue::{Head, QueueSize};
use luge_volume::Stats;
use std::sync::Arc;

/// A request in flight. Four fit a cache line.
#[derive(Clone, Copy, Debug)]
struct RequestSlot {
    /// Place of the status byte; none in a free slot.
    status: Option<SharedByte>,
    /// Bytes written to the guest on success, the status byte included.
    written: u32,
}

const _: () = assert!(size_of::<RequestSlot>() == 16);

const FREE: RequestSlot = RequestSlot { status: None, written: 0 };

/// A free slot, for a new request.
pub(super) struct FreeSlot<'a>(&'a mut RequestSlot);

impl FreeSlot<'_> {
    /// Fills the slot with a request, which [`RequestSlots::add_busy`] has to count.
    #[inline]
    pub(super) fn fill(self, status: SharedByte, written: u32) {
        *self.0 = RequestSlot { status: Some(status), written };
    }
}

/// The slots of a queue. Does not grow.
pub(super) struct RequestSlots {
    slots: Box<[RequestSlot]>,
    busy: usize,
    /// Statistics of the volume on the session's core, for requests that fail.
    stats: Arc<Stats>,
}

impl RequestSlots {
    pub(super) fn new(size: QueueSize, stats: Arc<Stats>) -> Self {
        Self { slots: vec![FREE; size.get().into()].into_boxed_slice(), busy: 0, stats }
    }

    /// Blocks that the volume has taken on this core so far, modulo 2^64.
    #[inline]
    pub(super) fn blocks_taken(&self) -> u64 {
        self.stats.blocks()
    }

    /// Number of slots.
    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Number of slots that are not free.
    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    /// The slot of a chain that is not in flight; none for one that is.
    #[inline]
    pub(super) fn free(&mut self, head: Head) -> Option<FreeSlot<'_>> {
        let slot = self.slots.get_mut(usize::from(head.0))?;
        if slot.status.is_some() { None } else { Some(FreeSlot(slot)) }
    }

    /// Whether a chain is not in flight.
    #[inline]
    pub(super) fn is_free(&self, head: Head) -> bool {
        self.slots.get(usize::from(head.0)).is_some_and(|slot| slot.status.is_none())
    }

    /// Counts slots that were filled.
    #[inline]
    pub(super) fn add_busy(&mut self, filled: usize) {
        self.busy = self.busy.wrapping_add(filled);
    }

    /// Frees the slot of a request that the volume did not take.
    pub(super) fn forget(&mut self, head: Head) {
        if let Some(slot) = self.slots.get_mut(usize::from(head.0)) {
            *slot = FREE;
            self.busy = self.busy.wrapping_sub(1);
        }
    }

    /// Ends requests that the volume has completed; returns their chains, and the bytes written to each.
    ///
    /// # Panics
    /// If one is not in flight: a mistake of ours, after which no slot can be trusted.
    #[inline]
    pub(super) fn end_all(&mut self, ended: &[Completion]) -> impl Iterator<Item = (Head, u32)> {
        self.busy = self.busy.wrapping_sub(ended.len());
        ended.iter().map(|end| if end.succeeded() { self.succeed(*end) } else { self.fail(*end) })
    }

    /// Ends a request that the volume does not have: it was refused, or needs no volume.
    #[cold]
    pub(super) fn end_untaken(&mut self, end: Completion) -> (Head, u32) {
        self.busy = self.busy.wrapping_sub(1);
        if end.succeeded() {
            return self.succeed(end);
        }
        self.stats.refuse(end.status());
        self.end_failed(end)
    }

    #[inline]
    fn succeed(&mut self, end: Completion) -> (Head, u32) {
        self.free_slot(end, RequestStatus::OK)
    }

    #[cold]
    #[inline(never)]
    fn fail(&mut self, end: Completion) -> (Head, u32) {
        self.stats.fail(end.status());
        self.end_failed(end)
    }

    fn end_failed(&mut self, end: Completion) -> (Head, u32) {
        // Only the status byte is certain to be there.
        (self.free_slot(end, request_status(end.status())).0, 1)
    }

    /// Writes the status byte of a request, and frees its slot.
    #[inline]
    fn free_slot(&mut self, end: Completion, result: RequestStatus) -> (Head, u32) {
        let head = Head(end.tag().slot());
        let slot = self.slots.get_mut(usize::from(head.0));
        let in_flight = slot.and_then(|slot| Some((slot.status?, slot)));
        let (place, slot) = in_flight.expect("a request ends that is not in flight");
        place.store(result.0);
        slot.status = None;
        (head, slot.written)
    }
}

/// The virtio-blk status for a status of ours.
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
        | Status::Gone
        | Status::CompareFailed
        | Status::ReservationConflict => RequestStatus::IOERR,
    }
}

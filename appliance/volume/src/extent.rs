//! A volume on one core: an extent of a channel or of a node, and what it has in flight there.

use crate::cutter::{Content, Whole};
use crate::ended_run::EndedRun;
use crate::hold::Hold;
use crate::latency::{SessionTimes, Stopwatch};
use crate::limits::Limits;
use crate::locks::Seat;
use crate::sorts::Sorts;
use crate::steps::{CopyRequest, PoolId};
use crate::{Base, NodeId, Stats};
use luge_block::{
    BlockRange, Blocks, CheckedTransfer, Completion, CopyRange, Durability, Kind, Lba, Operation, Refusal,
    Request, SizeClass, Status, Stepped, Tag, TransferExtent,
};
use luge_reservations::{Rights, RightsWord};
use std::sync::Arc;

/// The blocks of a volume on its base, and its part in tags.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) way: Tag,
    pub(crate) first: Lba,
    pub(crate) blocks: Blocks,
    pub(crate) read_only: bool,
}

impl Extent {
    /// The request as the base is to get it.
    #[inline]
    pub(crate) fn translate<'a>(&self, request: &Request<'a>) -> Result<Request<'a>, Status> {
        let lba = self.place(request)?;
        let tag = request.tag.through(self.way, Kind::of(request.operation));
        let tag = tag.sized(SizeClass::of(request.blocks));
        Ok(Request { tag, lba, ..*request })
    }

    /// The request's first block on the base. A flush has no blocks, whatever it says.
    #[inline]
    fn place(&self, request: &Request<'_>) -> Result<Lba, Status> {
        let Request { operation, lba, blocks, .. } = *request;
        if operation.is_flush() {
            return Ok(self.first);
        }
        operation.check_access(self.read_only)?;
        self.check_blocks(lba, blocks.into())?;
        Ok(Lba(self.first.0 + lba.0))
    }

    /// Whether blocks are on the volume.
    #[inline]
    fn check_blocks(&self, lba: Lba, blocks: u64) -> Result<(), Status> {
        match lba.0.checked_add(blocks) {
            Some(end) if end <= self.blocks.0 => Ok(()),
            _ => Err(Status::OutOfRange),
        }
    }
}

impl Mounted {
    /// Checks ranges that are one request: each is one that the base can do, on the volume, and they have
    /// no more blocks together than the volume. Returns that number.
    ///
    /// Ranges that overlap could make a request of a few bytes keep a device busy for hours.
    fn check_ranges(&self, ranges: &[BlockRange]) -> Result<u64, Status> {
        let Extent { blocks: have, read_only, .. } = self.extent;
        let mut total = 0_u64;
        for &BlockRange { operation, lba, blocks } in ranges {
            operation.check_access(read_only)?;
            if operation.moves_data() || operation.is_flush() || blocks == 0 {
                return Err(Status::Invalid);
            }
            if self.limits.blocks(operation) == 0 {
                return Err(Status::Unsupported);
            }
            let end = lba.0.checked_add(blocks.into()).filter(|&end| end <= have.0);
            end.ok_or(Status::OutOfRange)?;
            total = total.saturating_add(blocks.into());
        }
        if total <= have.0 { Ok(total) } else { Err(Status::OutOfRange) }
    }
}

/// Rights that an operation needs (NVMe Base 2.0, figure 402; SBC-3, table 13). A flush counts as a write there.
const fn needed(operation: Operation) -> Rights {
    match operation {
        Operation::Read
        | Operation::Compare
        | Operation::Verify
        | Operation::Stepped(Stepped::CompareSame) => Rights::Read,
        Operation::Write(_)
        | Operation::Flush
        | Operation::Discard
        | Operation::WriteZeroes
        | Operation::WriteZeroesUnmap
        | Operation::CompareAndWrite(_)
        | Operation::WriteUncorrectable
        | Operation::Stepped(Stepped::WriteSame(_) | Stepped::WriteAndVerify | Stepped::WriteAndCompare) => {
            Rights::ReadWrite
        }
    }
}

/// A volume of a core's graph.
pub(crate) struct Mounted {
    pub(crate) extent: Extent,
    /// Extent that reads and writes are checked against.
    pub(crate) transfers: TransferExtent,
    pub(crate) limits: Limits,
    /// Whether it is the whole of its source, and is resized with that.
    pub(crate) is_whole: bool,
    pub(crate) base: Base,
    /// Level of the base: zero for a channel, the node's otherwise.
    pub(crate) level: u16,
    /// The node that it is a part of; none for one that sessions use.
    pub(crate) parent: Option<NodeId>,
    /// Requests that its base has.
    pub(crate) in_flight: usize,
    pub(crate) hold: Hold,
    /// Rights of whoever uses it: all, for a node.
    pub(crate) rights: Arc<RightsWord>,
    /// Pool of the slots of its requests in steps.
    pub(crate) pool: PoolId,
    pub(crate) seat: Seat,
    pub(crate) stats: Arc<Stats>,
    pub(crate) stopwatch: Stopwatch,
}

impl Mounted {
    /// Gives it the size of its source, if it is the whole of that.
    pub(crate) fn resize(&mut self, blocks: Blocks) {
        if self.is_whole {
            self.extent.blocks = blocks;
            self.transfers = self.transfers.with_blocks(blocks);
        }
    }

    /// Extent of reads and writes that are not looked at one by one: empty while blocks are held, and without what
    /// the user has no right to.
    #[inline]
    pub(crate) fn open_transfers(&self) -> TransferExtent {
        if self.hold.is_open() && self.rights.are_all() {
            self.transfers
        } else {
            self.restricted_transfers()
        }
    }

    #[cold]
    #[inline(never)]
    fn restricted_transfers(&self) -> TransferExtent {
        if !self.hold.is_open() {
            return self.transfers.closed();
        }
        match self.rights.load() {
            Rights::None => self.transfers.closed(),
            Rights::Read => self.transfers.read_only(),
            Rights::ReadWrite => self.transfers,
        }
    }

    /// Refuses what the user has no right to. Asked again whenever a request is submitted again: rights may have
    /// changed while it waited.
    #[inline]
    fn check_rights(&self, operation: Operation) -> Result<(), Refusal> {
        if self.rights.are_all() { Ok(()) } else { self.check_restricted(operation) }
    }

    #[cold]
    #[inline(never)]
    fn check_restricted(&self, operation: Operation) -> Result<(), Refusal> {
        if self.rights.load() >= needed(operation) {
            Ok(())
        } else {
            Err(Refusal::Failed(Status::ReservationConflict))
        }
    }

    /// The request as the base is to get it.
    ///
    /// # Errors
    /// [`Refusal`] if it is outside of the volume, or held.
    #[inline]
    pub(crate) fn admit<'a>(&self, request: &Request<'a>) -> Result<Request<'a>, Refusal> {
        self.check_rights(request.operation)?;
        let translated = self.extent.translate(request).map_err(Refusal::Failed)?;
        if self.hold.is_open() || self.hold.takes(request) { Ok(translated) } else { Err(Refusal::Full) }
    }

    /// Ranges as one request, which the cutter is to get, and the number of their blocks.
    ///
    /// # Errors
    /// [`Refusal`] if one of them is outside of the volume, or held.
    pub(crate) fn admit_ranges<'a>(
        &self,
        tag: Tag,
        ranges: &'a [BlockRange],
    ) -> Result<(Whole<'a>, u64), Refusal> {
        let first = ranges.first().ok_or(Refusal::Failed(Status::Invalid))?;
        // All that ranges can be needs the right of this one.
        self.check_rights(Operation::Discard)?;
        let total = self.check_ranges(ranges).map_err(Refusal::Failed)?;
        if !self.hold.is_open() && !ranges.iter().all(|range| self.hold.takes_range(range)) {
            return Err(Refusal::Full);
        }
        let size = SizeClass::of(u32::try_from(total).unwrap_or(u32::MAX));
        let tag = tag.through(self.extent.way, Kind::of(first.operation)).sized(size);
        Ok((Whole { tag, content: Content::Ranges(ranges, self.extent.first) }, total))
    }

    /// A copy, whose sources and destination are checked; returns its tag and the number of its blocks.
    ///
    /// # Errors
    /// [`Refusal`] if a block is outside of the volume or held, or if it is too much, or a source overlaps the
    /// destination.
    pub(crate) fn admit_copy(&self, copy: &CopyRequest<'_>) -> Result<(Tag, u32), Refusal> {
        self.check_rights(Operation::Write(Durability::Cache))?;
        let total = self.check_copy(copy).map_err(Refusal::Failed)?;
        let free = self.hold.is_open()
            || self.hold.takes_blocks(copy.lba, total)
                && copy.sources.iter().all(|source| self.hold.takes_source(source));
        if !free {
            return Err(Refusal::Full);
        }
        Ok((copy.tag.through(self.extent.way, Kind::Copy).sized(SizeClass::of(total)), total))
    }

    /// Checks a copy, and returns the number of its blocks.
    fn check_copy(&self, copy: &CopyRequest<'_>) -> Result<u32, Status> {
        let limits = self.limits.offered.copy;
        if self.extent.read_only {
            return Err(Status::WriteProtected);
        }
        let mut total = 0_u64;
        for source in copy.sources {
            if !(1..=limits.range_blocks_max).contains(&source.blocks) {
                return Err(Status::Invalid);
            }
            self.extent.check_blocks(source.lba, source.blocks.into())?;
            total += u64::from(source.blocks);
        }
        let few = copy.sources.len() <= limits.ranges_max.into();
        if !few || !(1..=u64::from(limits.blocks_max)).contains(&total) {
            return Err(Status::Invalid);
        }
        self.extent.check_blocks(copy.lba, total)?;
        let end = copy.lba.0 + total;
        let overlaps =
            |source: &CopyRange| source.lba.0 < end && copy.lba.0 < source.lba.0 + u64::from(source.blocks);
        if copy.sources.iter().any(overlaps) {
            return Err(Status::Invalid);
        }
        u32::try_from(total).map_err(|_| Status::Invalid)
    }

    /// Counts requests that the base has taken.
    #[inline]
    pub(crate) fn begin(&mut self, transfers: &[CheckedTransfer<'_>], now: u64, times: &mut SessionTimes) {
        if self.parent.is_none() {
            let tags = transfers.iter().map(|transfer| transfer.tag);
            self.stopwatch.begin(self.in_flight, tags, now, times);
        }
        self.in_flight += transfers.len();
        self.stats.count_all(transfers, now);
    }

    /// Counts one request that the base has taken.
    #[inline]
    pub(crate) fn begin_one(&mut self, tag: Tag, blocks: u64, now: u64, times: &mut SessionTimes) {
        if self.parent.is_none() {
            self.stopwatch.begin(self.in_flight, std::iter::once(tag), now, times);
        }
        self.in_flight += 1;
        self.stats.count(tag.kind(), blocks, now);
    }

    /// Counts requests of one session that began at `begun` and have ended now, without having been in flight.
    #[inline]
    pub(crate) fn count_served(&self, served: &[CheckedTransfer<'_>], begun: u64, now: u64) {
        let Some(first) = served.first() else { return };
        let tags = || served.iter().map(|transfer| transfer.tag);
        let sorts = Sorts::new(first.tag, first.tag.differences_of(tags()), tags());
        let (latencies, ticks) = (self.stats.latencies(), now.saturating_sub(begun));
        self.stats.count_served(served, &sorts, ticks);
        if sorts.are_of_one_size() {
            latencies.add_all(&sorts, ticks);
        } else {
            tags().for_each(|tag| latencies.add(tag, ticks, 1));
        }
    }

    /// Counts requests that have ended.
    ///
    /// # Panics
    /// If more have ended than were begun: a channel or node made some up.
    #[inline]
    pub(crate) fn end(&mut self, run: &EndedRun<'_>, now: u64, times: &SessionTimes) {
        let left = self.in_flight.checked_sub(run.ended.len());
        self.in_flight = left.expect("a channel completes what it was not given");
        self.stats.end(run.sorts.kinds, now);
        if self.parent.is_none() {
            self.stopwatch.end(run, now, times, self.stats.latencies());
        }
    }

    /// Counts requests that have failed, for a part of a composite: sessions count for theirs.
    pub(crate) fn count_failures(&self, ended: &[Completion]) {
        let failed = ended.iter().filter(|end| !end.succeeded());
        failed.for_each(|end| self.stats.fail(end.status()));
    }
}

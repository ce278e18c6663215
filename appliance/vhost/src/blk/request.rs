//! The step from a chain to a request. All of a request's form is checked here, before any part of it reaches
//! the device.

use super::command::{Command, Sector};
use super::disk::{BlkDisk, RANGES_MAX};
use crate::pieces::Pieces;
use luge_block::{BlockRange, Durability, Lba, Operation, Status};
use luge_memory::{SharedByte, Span};
use luge_spec::virtio::Features;
use luge_spec::virtio::blk::{RangeSegment, RequestHeader, RequestType};
use luge_virtqueue::{Chain, Direction};
use std::hint::select_unpredictable;
use std::ops;
use zerocopy::FromBytes;

/// Length of a header in bytes.
const HEADER_BYTES: usize = size_of::<RequestHeader>();

/// Layout of a request as drivers make it: the status, a byte, is last.
type Layout = luge_virtqueue::ResponseLast<HEADER_BYTES, 1>;

/// The chains of one take.
pub(super) type Batch = luge_virtqueue::Batch<Layout>;

/// A chain in that layout, as nearly all are.
pub(super) type RequestChain<'a> = luge_virtqueue::RequestChain<'a, Layout>;

/// Length of the most ranges, which a driver is told (`max_discard_seg`).
const RANGES_BYTES_MAX: usize = RANGES_MAX * size_of::<RangeSegment>();

/// Ranges of the pending request. At most one request is pending, so there is one list per queue.
pub(super) type Ranges = heapless::Vec<BlockRange, RANGES_MAX>;

/// Properties of a disk and its driver by which requests are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) disk: BlkDisk,
    /// Durability of a completed write: on the media, for a driver that cannot flush
    /// (virtio 1.3, clause 5.2.5.2).
    durability: Durability,
}

/// Work of a request that is left to its volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Todo {
    /// A transfer of `blocks` blocks from `lba`, with the spans `data` of the batch, or of a long chain's list.
    Transfer { operation: Operation, lba: Lba, blocks: u32, data: ops::Range<usize> },
    /// A discard or write-zeroes of the ranges in the list.
    Ranges,
    /// A flush.
    Flush,
}

/// A request that can be answered.
pub(super) struct Request {
    /// Place of the status byte.
    pub(super) status: SharedByte,
    /// Bytes written to the guest on success, the status byte included.
    pub(super) written: u32,
    /// Work for the volume; none if the request can be answered at once.
    pub(super) todo: Result<Option<Todo>, Status>,
}

/// A read or write of at least one block.
pub(super) struct Transfer<'a> {
    pub(super) status: SharedByte,
    pub(super) written: u32,
    pub(super) operation: Operation,
    pub(super) lba: Lba,
    pub(super) blocks: u32,
    pub(super) data: &'a [Span],
}

/// Bytes written to a transfer that succeeds, the status byte included. Not a branch, as in [`Rules::read_transfer`].
#[inline]
pub(super) fn written(chain: &RequestChain<'_>) -> u32 {
    let reads = chain.direction == Direction::Written;
    select_unpredictable(reads, chain.bytes, 0).wrapping_add(1)
}

impl Rules {
    pub(super) fn new(disk: BlkDisk, features: Features) -> Self {
        let flushes = features.contains(Features::BLK_FLUSH);
        Self { disk, durability: if flushes { Durability::Cache } else { Durability::Media } }
    }

    /// Reads a transfer, as nearly all requests are; none for any other request, right or wrong.
    #[inline]
    pub(super) fn read_transfer<'a>(&self, chain: &RequestChain<'a>) -> Option<Transfer<'a>> {
        let RequestChain { header, data, bytes, direction, response, .. } = *chain;
        let header: RequestHeader = zerocopy::transmute!(header.load());
        // Guests mix reads and writes: a branch here would be mispredicted.
        let reads = direction == Direction::Written;
        let kind = select_unpredictable(reads, RequestType::IN, RequestType::OUT);
        let operation = select_unpredictable(reads, Operation::Read, Operation::Write(self.durability));
        let (lba, blocks) = self.disk.in_blocks(Sector(header.sector.get()), bytes)?;
        if header.kind != kind {
            return None;
        }
        // The volume refuses what a read-only disk does not take.
        Some(Transfer { status: response.byte(), written: written(chain), operation, lba, blocks, data })
    }

    /// Reads a request of any kind, in any legal layout; none if there is no byte for an answer.
    pub(super) fn read(&self, chain: Chain<'_>, ranges: &mut Ranges) -> Option<Request> {
        let Chain { first, fault, readable, writable, bytes, .. } = chain;
        let mut writable = Pieces::new(writable, first.wrapping_add(readable.len()), bytes.writable);
        let mut readable = Pieces::new(readable, first, bytes.readable);
        let status = writable.cut_last()?;
        let mut written = 0;
        let command = if fault.is_none() { Command::parse(&mut readable) } else { None };
        let todo = match command {
            None => Err(Status::Invalid),
            Some(Command::Read(sector)) => {
                written = writable.len();
                self.transfer(Operation::Read, sector, &writable)
            }
            Some(Command::Write(sector)) => {
                self.transfer(Operation::Write(self.durability), sector, &readable)
            }
            Some(Command::Flush) => Ok(Some(Todo::Flush)),
            Some(Command::GetId) => {
                written = writable.write(self.disk.serial());
                Ok(None)
            }
            Some(Command::Discard) => self.discard(&mut readable, ranges),
            Some(Command::WriteZeroes) => self.write_zeroes(&mut readable, ranges),
            Some(Command::Unknown) => Err(Status::Unsupported),
        };
        Some(Request { status, written: written.saturating_add(1), todo })
    }

    fn transfer(
        &self,
        operation: Operation,
        sector: Sector,
        data: &Pieces<'_>,
    ) -> Result<Option<Todo>, Status> {
        self.disk.allows(operation)?;
        let (lba, blocks) = self.disk.in_blocks(sector, data.len()).ok_or(Status::Invalid)?;
        // The volume knows the size that it has now. Nothing at all does not get there: for that, the size counts that
        // the disk had when the ring was started.
        if blocks == 0 && !self.disk.geometry().contains(lba, 0) {
            return Err(Status::OutOfRange);
        }
        Ok((blocks > 0).then_some(Todo::Transfer { operation, lba, blocks, data: data.left() }))
    }

    fn discard(&self, readable: &mut Pieces<'_>, ranges: &mut Ranges) -> Result<Option<Todo>, Status> {
        self.disk.allows(Operation::Discard)?;
        self.ranges(readable, ranges, BlkDisk::discard)
    }

    fn write_zeroes(&self, readable: &mut Pieces<'_>, ranges: &mut Ranges) -> Result<Option<Todo>, Status> {
        self.disk.allows(Operation::WriteZeroes)?;
        // Write-zeroes cannot be durable, and a driver that cannot flush could not make it so afterwards:
        // it has to write the zeroes as data.
        if self.durability == Durability::Media {
            return Err(Status::Unsupported);
        }
        self.ranges(readable, ranges, BlkDisk::write_zeroes)
    }

    /// Reads all ranges of a request.
    fn ranges(
        &self,
        readable: &mut Pieces<'_>,
        ranges: &mut Ranges,
        check: impl Fn(&BlkDisk, &RangeSegment) -> Result<BlockRange, Status>,
    ) -> Result<Option<Todo>, Status> {
        ranges.clear();
        // Ranges of no blocks count, too: a guest can send gigabytes of them.
        if readable.len() as usize > RANGES_BYTES_MAX {
            return Err(Status::Invalid);
        }
        while readable.len() > 0 {
            let bytes: [u8; size_of::<RangeSegment>()] = readable.cut_first().ok_or(Status::Invalid)?;
            let segment = RangeSegment::read_from_bytes(&bytes).map_err(|_| Status::Invalid)?;
            let range = check(&self.disk, &segment)?;
            if range.blocks > 0 {
                ranges.push(range).map_err(|_| Status::Invalid)?;
            }
        }
        Ok((!ranges.is_empty()).then_some(Todo::Ranges))
    }
}

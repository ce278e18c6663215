//! Limits of a volume's base. What exceeds them is cut.

use luge_block::{CopyLimits, Durability, Geometry, Operation, OperationLimits, Request, Status, Stepped};
use luge_memory::Span;

/// The most ranges of one request.
pub const RANGES_MAX: usize = 256;

/// The most bytes of a request in steps, or one block. Longer ones are cut.
pub(crate) const REQUEST_BYTES_MAX: u32 = 1 << 20;

/// The most spans of a request in steps: 1 MiB in pages of any alignment, twice.
pub(crate) const STEP_SPANS_MAX: usize = 514;

/// Bytes that one step works on: some microseconds to compare.
const STEP_BYTES: u32 = 32 << 10;

/// Steps that go on in one turn.
pub(crate) const STEPS_PER_TURN: u8 = 2;

/// Limits of the base of a volume.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) block_bytes: u32,
    /// Blocks of a read or write.
    transfer_blocks: u32,
    /// Blocks of a read or write that is not cut, and of each part of one that is.
    pub(crate) uncut_blocks: u32,
    /// Blocks of long requests that a core submits in a turn.
    turn_blocks: u32,
    /// Spans of a read or write.
    pub(crate) spans: usize,
    /// Spans of a block: without limit where the base has memory for a block in too many.
    pub(crate) block_spans: usize,
    /// Blocks of a write that is never cut.
    atomic_blocks: u32,
    /// Blocks of a discard; zero where the base cannot discard.
    discard_blocks: u32,
    /// Blocks of a write of zeroes; zero where the base cannot.
    write_zeroes_blocks: u32,
    /// Blocks of what the base does in one step; zeroes where it cannot.
    pub(crate) native: OperationLimits,
    /// Blocks of what the volume does, in steps where the base cannot.
    pub(crate) offered: OperationLimits,
}

/// Limits of what a volume offers beside reads, writes, discards and zeroes: its base does it, or steps beneath it.
pub(crate) fn offered(source: &Geometry) -> OperationLimits {
    let Geometry { block_bytes, transfer_blocks_max, operations: native, .. } = *source;
    let most = (REQUEST_BYTES_MAX / block_bytes).max(1);
    OperationLimits {
        compare_blocks_max: most.max(native.compare_blocks_max),
        verify_blocks_max: u32::MAX,
        compare_and_write_blocks_max: step_blocks(block_bytes, transfer_blocks_max),
        write_uncorrectable_blocks_max: native.write_uncorrectable_blocks_max,
        copy: CopyLimits {
            ranges_max: u16::try_from(RANGES_MAX).unwrap_or(u16::MAX),
            range_blocks_max: most,
            blocks_max: most,
        },
    }
}

/// Number of blocks of one step.
fn step_blocks(block_bytes: u32, transfer_blocks: u32) -> u32 {
    STEP_BYTES.checked_div(block_bytes).unwrap_or(0).max(1).min(transfer_blocks)
}

impl Limits {
    /// Limits of a base.
    pub(crate) fn new(geometry: &Geometry, source: &Geometry) -> Self {
        Self {
            block_bytes: geometry.block_bytes,
            transfer_blocks: geometry.transfer_blocks_max,
            uncut_blocks: geometry.uncut_blocks_max(),
            turn_blocks: geometry.turn_blocks_max,
            spans: geometry.spans_max.into(),
            block_spans: geometry.spans_max.into(),
            atomic_blocks: geometry.atomic_blocks,
            discard_blocks: geometry.discard_blocks_max,
            write_zeroes_blocks: geometry.write_zeroes_blocks_max,
            native: source.operations,
            offered: geometry.operations,
        }
    }

    /// Limits of a base that has memory for a block in more spans than it takes.
    pub(crate) fn with_block_buffer(self) -> Self {
        Self { block_spans: usize::MAX, ..self }
    }

    /// The most blocks of a request that has blocks; zero where the base cannot do it.
    pub(crate) fn blocks(&self, operation: Operation) -> u32 {
        match operation {
            Operation::Read | Operation::Write(_) | Operation::Flush => self.transfer_blocks,
            Operation::Discard => self.discard_blocks,
            Operation::WriteZeroes | Operation::WriteZeroesUnmap => self.write_zeroes_blocks,
            Operation::Compare => self.native.compare_blocks_max,
            Operation::Verify => self.native.verify_blocks_max,
            Operation::CompareAndWrite(_) => self.native.compare_and_write_blocks_max,
            Operation::WriteUncorrectable => self.native.write_uncorrectable_blocks_max,
            Operation::Stepped(_) => 0,
        }
    }

    /// Number of blocks of one step of a request: all steps of a turn have no more than a core moves in one, where it
    /// moves them itself.
    pub(crate) fn step_blocks(&self) -> u32 {
        let of_turn = (self.turn_blocks / u32::from(STEPS_PER_TURN)).max(1);
        self.largest_step_blocks().min(of_turn)
    }

    /// Number of blocks of a step that must be whole: of a compare-and-write.
    pub(crate) fn largest_step_blocks(&self) -> u32 {
        step_blocks(self.block_bytes, self.transfer_blocks)
    }

    /// Number of blocks of the longest request in steps that has no memory for each block.
    fn request_blocks(&self) -> u32 {
        REQUEST_BYTES_MAX.checked_div(self.block_bytes).unwrap_or(0).max(1)
    }

    /// Whether the base does a part of its work in each turn, and has room again in the next one: the core moves the data.
    pub(crate) fn has_room_by_turns(&self) -> bool {
        self.turn_blocks < u32::MAX
    }

    /// Part of the work of a turn, of which there are `of`, that a part of so many blocks is worth.
    pub(crate) fn part_of_turn(&self, blocks: u32, of: usize) -> usize {
        let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
        let turn = usize::try_from(self.turn_blocks).unwrap_or(usize::MAX).max(1);
        blocks.saturating_mul(of) / turn
    }

    /// The most blocks of a part of a request without memory for each block.
    pub(crate) fn part_blocks(&self, operation: Operation) -> u32 {
        match operation {
            _ if self.parts_in_steps(operation) => self.request_blocks(),
            _ => self.blocks(operation),
        }
    }

    /// Whether the parts of a long request are done in steps.
    pub(crate) fn parts_in_steps(&self, operation: Operation) -> bool {
        match operation {
            Operation::Stepped(_) => true,
            Operation::Verify => self.native.verify_blocks_max < self.request_blocks(),
            _ => false,
        }
    }

    /// Request of zeroes to which a request comes down that writes one block again and again; none for another block,
    /// or where the base cannot write zeroes by itself.
    pub(crate) fn zeroes(&self, request: &Request<'_>) -> Option<Zeroes> {
        let Operation::Stepped(Stepped::WriteSame(same)) = request.operation else { return None };
        let can = self.write_zeroes_blocks > 0 && are_zero(request.data);
        can.then_some(Zeroes { operation: same.of_zeroes(), durability: same.durability() })
    }

    /// Whether a request is done in steps.
    pub(crate) fn in_steps(&self, request: &Request<'_>) -> bool {
        let Request { operation, blocks, data, .. } = *request;
        match operation {
            Operation::CompareAndWrite(_) | Operation::Stepped(_) => true,
            Operation::Compare => {
                !(1..=self.native.compare_blocks_max).contains(&blocks) || data.len() > self.spans
            }
            Operation::Verify => !(1..=self.native.verify_blocks_max).contains(&blocks),
            Operation::Read
            | Operation::Write(_)
            | Operation::Flush
            | Operation::Discard
            | Operation::WriteZeroes
            | Operation::WriteZeroesUnmap
            | Operation::WriteUncorrectable => false,
        }
    }

    /// Whether a request in steps has exactly the memory that it needs, and is not too long.
    ///
    /// # Errors
    /// [`Status::Invalid`].
    pub(crate) fn check_steps(&self, request: &Request<'_>) -> Result<(), Status> {
        let Request { operation, blocks, data, .. } = *request;
        let most = match operation {
            Operation::CompareAndWrite(_) => self.offered.compare_and_write_blocks_max,
            Operation::Compare | Operation::Stepped(Stepped::WriteAndVerify | Stepped::WriteAndCompare) => {
                self.offered.compare_blocks_max
            }
            _ => u32::MAX,
        };
        let solid = data.len() <= STEP_SPANS_MAX && data.iter().all(|span| !span.is_empty());
        let bytes = operation.memory_of(blocks).saturating_mul(self.block_bytes.into());
        let has_memory = Span::total(data) == bytes || data.is_empty() && writes_same(operation);
        let fits = solid && has_memory && (1..=most).contains(&blocks);
        if fits { Ok(()) } else { Err(Status::Invalid) }
    }

    /// Whether a request is a write that must not be cut.
    pub(crate) fn keep_whole(&self, operation: Operation, blocks: u32) -> bool {
        matches!(operation, Operation::Write(_)) && blocks <= self.atomic_blocks
    }

    /// Whether a request is beyond the limits, and can be cut. One that the base cannot do at all is for
    /// the base to refuse.
    pub(crate) fn cut(&self, request: &Request<'_>) -> bool {
        let Request { operation, blocks, data, .. } = *request;
        match operation {
            Operation::Flush
            | Operation::Compare
            | Operation::CompareAndWrite(_)
            | Operation::Stepped(Stepped::WriteAndVerify | Stepped::WriteAndCompare) => false,
            Operation::Verify | Operation::Stepped(Stepped::WriteSame(_) | Stepped::CompareSame) => {
                blocks > self.part_blocks(operation)
            }
            Operation::Read | Operation::Write(_) => blocks > self.uncut_blocks || data.len() > self.spans,
            Operation::Discard
            | Operation::WriteZeroes
            | Operation::WriteZeroesUnmap
            | Operation::WriteUncorrectable => (1..blocks).contains(&self.blocks(operation)),
        }
    }
}

/// Zeroes that are to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zeroes {
    pub(crate) operation: Operation,
    pub(crate) durability: Durability,
}

fn writes_same(operation: Operation) -> bool {
    matches!(operation, Operation::Stepped(Stepped::WriteSame(_)))
}

/// Whether all bytes of a block are zero.
fn are_zero(block: &[Span]) -> bool {
    block.iter().all(|span| {
        let (mut rest, mut bytes) = (*span, [0; 512]);
        while !rest.is_empty() {
            let read = rest.read(&mut bytes);
            if bytes.iter().take(read).any(|&byte| byte != 0) {
                return false;
            }
            rest = rest.split_at(u32::try_from(read).unwrap_or(u32::MAX)).1;
        }
        true
    })
}

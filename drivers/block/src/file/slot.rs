//! A request that is in the kernel.
//!
//! ```text
//!   Read, Write, BouncedRead, BouncedWrite, Zeroes   1 a piece moved, some are left: the next piece
//!   Flush, Discard                                   2 all moved, or an error: the end
//!   Unmap     --- 3 the file system cannot ---> ZeroRange
//!   ZeroRange --- 4 the file system cannot ---> Zeroes
//! ```

use super::buffers::Buffer;
use super::memory::Memory;
use super::status::status;
use super::target::Alignment;
use crate::{Durability, FailedRequest, Lba, Operation, Request, Status, Tag};
use io_uring::{opcode, squeue, types};
use luge_memory::Span;
use rustix::io::Errno;

/// Task that the kernel is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Step {
    /// Read from the file to the request's memory.
    Read,
    /// Write from the request's memory to the file.
    Write(Durability),
    /// Read from the file to the slot's buffer, which is then copied to the request's memory.
    BouncedRead,
    /// Write to the file from the slot's buffer, to which the request's memory was copied.
    BouncedWrite(Durability),
    /// Flush of all that was written to the media.
    #[default]
    Flush,
    /// Make a hole, or fail.
    Discard,
    /// Make a hole.
    Unmap,
    /// Make zeroes without giving the space back.
    ZeroRange,
    /// Write zeroes.
    Zeroes,
}

/// A request that is in the kernel, or room for one.
#[derive(Default)]
pub(super) struct Slot {
    tag: Tag,
    step: Step,
    /// Place of the next piece in the file, in bytes.
    offset: u64,
    /// Number of bytes left to move.
    left: u64,
    block_bytes: u32,
    memory: Memory,
}

impl Slot {
    /// Takes a request that has been checked; `direct` is what direct I/O asks of its memory.
    pub fn begin(&mut self, request: &Request<'_>, block_bytes: u32, direct: Option<Alignment>) {
        self.memory.take(request.data);
        let bounced = direct.is_some_and(|alignment| !self.memory.is_aligned(alignment));
        self.tag = request.tag;
        self.step = first_step(request.operation, bounced);
        self.block_bytes = block_bytes;
        if request.operation == Operation::Flush {
            (self.offset, self.left) = (0, 0);
        } else {
            self.offset = request.lba.0 * u64::from(block_bytes);
            self.left = u64::from(request.blocks) * u64::from(block_bytes);
        }
    }

    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// Rest of a request of which a part has failed.
    pub fn failed(&self) -> FailedRequest {
        let operation = match self.step {
            Step::Read | Step::BouncedRead => Operation::Read,
            Step::Write(when) | Step::BouncedWrite(when) => Operation::Write(when),
            Step::Flush => Operation::Flush,
            Step::Discard => Operation::Discard,
            Step::Unmap => Operation::WriteZeroesUnmap,
            Step::ZeroRange | Step::Zeroes => Operation::WriteZeroes,
        };
        let block_bytes = u64::from(self.block_bytes);
        let blocks = u32::try_from(self.left / block_bytes).unwrap_or(u32::MAX);
        FailedRequest { operation, lba: Lba(self.offset / block_bytes), blocks }
    }

    /// Whether its memory goes through the slot's buffer.
    pub fn is_bounced(&self) -> bool {
        matches!(self.step, Step::BouncedRead | Step::BouncedWrite(_))
    }

    /// The next piece, for the kernel. It refers to the slot's memory list, the request's
    /// memory, or to `buffer`, which all stay until the piece has ended.
    pub fn entry(&self, file: types::Fd, buffer: Span) -> squeue::Entry {
        let (list, len) = (self.memory.as_ptr(), self.memory.len());
        let at = self.offset;
        match self.step {
            Step::Read => match self.memory.single() {
                Some(span) => read(file, span, at),
                None => opcode::Readv::new(file, list, len).offset(at).build(),
            },
            Step::Write(when) => match self.memory.single() {
                Some(span) => write(file, span, at, when),
                None => opcode::Writev::new(file, list, len).offset(at).rw_flags(flags(when)).build(),
            },
            Step::BouncedRead => read(file, buffer, at),
            Step::BouncedWrite(when) => {
                self.memory.copy_to(buffer);
                write(file, buffer, at, when)
            }
            Step::Zeroes => write(file, buffer, at, Durability::Cache),
            Step::Flush => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build(),
            Step::Discard | Step::Unmap => self.fallocate(file, libc::FALLOC_FL_PUNCH_HOLE),
            Step::ZeroRange => self.fallocate(file, libc::FALLOC_FL_ZERO_RANGE),
        }
    }

    fn fallocate(&self, file: types::Fd, mode: i32) -> squeue::Entry {
        let fallocate = opcode::Fallocate::new(file, self.left);
        fallocate.offset(self.offset).mode(mode | libc::FALLOC_FL_KEEP_SIZE).build()
    }

    /// The buffer that the next piece may use, and how much of it would be used.
    pub fn buffer(&self, index: u16) -> (Buffer, u64) {
        let buffer = if self.step == Step::Zeroes { Buffer::Zeroes } else { Buffer::Slot(index) };
        (buffer, self.left)
    }

    /// A piece has ended as the kernel says. How the request ends; nothing if it goes on.
    pub fn piece_ended(&mut self, result: i32, buffer: Span) -> Option<Status> {
        let Ok(bytes) = u32::try_from(result) else { return self.piece_failed(result) };
        match self.step {
            Step::Flush | Step::Discard | Step::Unmap | Step::ZeroRange => return Some(Status::Success),
            Step::BouncedRead => self.memory.copy_from(buffer.split_at(bytes).0),
            Step::Read | Step::Write(_) | Step::BouncedWrite(_) | Step::Zeroes => {}
        }
        // A piece that ended inside a block is repeated from that block on.
        let whole = bytes - bytes % self.block_bytes;
        if whole == 0 {
            // The file has become shorter, or takes nothing.
            return Some(Status::MediaError);
        }
        self.memory.advance(whole);
        self.offset += u64::from(whole);
        self.left = self.left.saturating_sub(u64::from(whole));
        (self.left == 0).then_some(Status::Success)
    }

    fn piece_failed(&mut self, result: i32) -> Option<Status> {
        match (self.step, status(Errno::from_raw_os_error(result.saturating_neg()))) {
            (Step::Unmap, Status::Unsupported) => self.step = Step::ZeroRange,
            (Step::ZeroRange, Status::Unsupported) => self.step = Step::Zeroes,
            (_, status) => return Some(status),
        }
        None
    }
}

fn first_step(operation: Operation, bounced: bool) -> Step {
    match operation {
        Operation::Read if bounced => Step::BouncedRead,
        Operation::Read => Step::Read,
        Operation::Write(when) if bounced => Step::BouncedWrite(when),
        Operation::Write(when) => Step::Write(when),
        Operation::Flush => Step::Flush,
        Operation::Discard => Step::Discard,
        Operation::WriteZeroes => Step::ZeroRange,
        Operation::WriteZeroesUnmap => Step::Unmap,
        // A file's geometry has none of these: requests for them are refused.
        Operation::Compare
        | Operation::Verify
        | Operation::CompareAndWrite(_)
        | Operation::WriteUncorrectable
        | Operation::Stepped(_) => Step::Flush,
    }
}

/// A write of its own that is on the media when it ends: `O_DSYNC`, or FUA where the disk has it.
fn flags(when: Durability) -> i32 {
    match when {
        Durability::Cache => 0,
        Durability::Media => libc::RWF_DSYNC,
    }
}

fn read(file: types::Fd, to: Span, offset: u64) -> squeue::Entry {
    opcode::Read::new(file, to.host().as_ptr(), to.len()).offset(offset).build()
}

fn write(file: types::Fd, from: Span, offset: u64, when: Durability) -> squeue::Entry {
    let write = opcode::Write::new(file, from.host().as_ptr(), from.len());
    write.offset(offset).rw_flags(flags(when)).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entry of the first piece of a request with that memory, by its opcode.
    fn opcode_of(operation: Operation, data: &[Span]) -> u32 {
        let request = Request { tag: Tag::default(), operation, lba: Lba(0), blocks: 1, data };
        let mut slot = Slot::default();
        slot.begin(&request, 512, None);
        slot.entry(types::Fd(0), Span::EMPTY).get_opcode()
    }

    #[test]
    fn a_request_in_one_piece_is_given_to_the_kernel_without_a_list() {
        let write = Operation::Write(Durability::Cache);
        let (one, two) = ([Span::EMPTY], [Span::EMPTY; 2]);
        assert_eq!(opcode_of(Operation::Read, &one), u32::from(opcode::Read::CODE));
        assert_eq!(opcode_of(Operation::Read, &two), u32::from(opcode::Readv::CODE));
        assert_eq!(opcode_of(write, &one), u32::from(opcode::Write::CODE));
        assert_eq!(opcode_of(write, &two), u32::from(opcode::Writev::CODE));
    }
}

//! A file that is memory itself (tmpfs): the core that takes a request does it, by system calls.
//!
//! Path: guest ring -> session -> volume -> channel -> **resident** -> the file's pages.
//!
//! Such a file has no media to wait for, yet an io_uring cannot know: tmpfs has no calls that fail
//! rather than wait, so the kernel gives each request to a thread of its own, and the core hands over
//! to that thread and back.
//!
//! Limits: a core can wait here, as for a guest's memory, where the host is out of memory or swaps. And
//! all that changes the file takes its lock (the inode's): a core sleeps while another one works on the
//! same file, which is 1 MiB at most, or while an outsider does something long to it.
//!
//! Invariants
//! - A request is short (1 MiB), whatever it does, and the channel does few of them in a turn.
//! - A read or write is one call, however many pieces its memory is in; more only where the kernel stops
//!   before the end.
//! - Memory that is missing, the guest's or the file's, is an error of the system call, never a signal.
//!
//! Not here: flushes that do anything, for nothing is more durable than the memory itself; a mapping of
//! the file, where reading a hole would fill it, and a full or shortened file would be a signal.

#![expect(unsafe_code, reason = "the kernel is given addresses")]

use super::buffers::{BUFFER_BYTES, Buffer, Buffers};
use super::memory::Memory;
use super::status::status;
use super::target::Target;
use crate::immediate::Execute;
use crate::{FailedRequest, IoError, IoErrors, Operation, Request, Status};
use luge_memory::Span;
use rustix::fs::FallocateFlags;
use rustix::io::{Errno, retry_on_intr};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

/// A channel's share of such a file.
pub(super) struct Resident {
    target: Arc<Target>,
    block_bytes: u64,
    /// Memory of the request at hand; here because a new list would be cleared, all 4 KiB of it.
    memory: Memory,
    buffers: Buffers,
    errors: Arc<IoErrors>,
}

impl Resident {
    pub fn new(target: Arc<Target>, errors: Arc<IoErrors>) -> io::Result<Self> {
        let block_bytes = target.geometry().block_bytes.into();
        Ok(Self { target, block_bytes, memory: Memory::default(), buffers: Buffers::new(0)?, errors })
    }

    /// Moves all bytes of a request by `call`, which is given memory and its place in the file, and
    /// returns what the system call did. The kernel may stop where a page is missing: what is left is
    /// asked for again, and is an error then.
    fn transfer(
        &mut self,
        request: &Request<'_>,
        call: impl Fn(&Memory, i64) -> isize,
    ) -> Result<(), Status> {
        let memory = &mut self.memory;
        memory.take(request.data);
        let mut offset = request.lba.0 * self.block_bytes;
        while memory.len() > 0 {
            let moved = retry_on_intr(|| moved(call(memory, offset.cast_signed()))).map_err(status)?;
            if moved == 0 {
                // The file has become shorter.
                return Err(Status::MediaError);
            }
            memory.advance(moved);
            offset += u64::from(moved);
        }
        Ok(())
    }

    fn read(&mut self, request: &Request<'_>) -> Result<(), Status> {
        let file = self.target.as_fd().as_raw_fd();
        self.transfer(request, |memory, offset| match memory.single() {
            // SAFETY: the request's memory stays until it has ended, and no reference is made to it.
            Some(to) => unsafe { libc::pread(file, to.host().as_ptr().cast(), to.len() as usize, offset) },
            // SAFETY: as above, and the list stays during the call.
            None => unsafe { libc::preadv(file, memory.as_ptr(), memory.len().cast_signed(), offset) },
        })
    }

    fn write(&mut self, request: &Request<'_>) -> Result<(), Status> {
        let file = self.target.as_fd().as_raw_fd();
        self.transfer(request, |memory, offset| match memory.single() {
            // SAFETY: as in `read`.
            Some(from) => unsafe {
                libc::pwrite(file, from.host().as_ptr().cast(), from.len() as usize, offset)
            },
            // SAFETY: as in `read`.
            None => unsafe { libc::pwritev(file, memory.as_ptr(), memory.len().cast_signed(), offset) },
        })
    }

    /// Makes a hole of the request's blocks, or with no flags memory of its holes.
    fn allocate(&self, request: &Request<'_>, flags: FallocateFlags) -> Result<(), Status> {
        let (flags, offset) = (flags | FallocateFlags::KEEP_SIZE, request.lba.0 * self.block_bytes);
        let len = u64::from(request.blocks) * self.block_bytes;
        retry_on_intr(|| rustix::fs::fallocate(&*self.target, flags, offset, len)).map_err(status)
    }

    fn run(&mut self, request: &Request<'_>) -> Result<(), Status> {
        match request.operation {
            Operation::Read => self.read(request),
            Operation::Write(_) => self.write(request),
            Operation::Flush => Ok(()),
            Operation::Discard | Operation::WriteZeroesUnmap => {
                self.allocate(request, FallocateFlags::PUNCH_HOLE)
            }
            Operation::WriteZeroes => {
                self.allocate(request, FallocateFlags::PUNCH_HOLE)?;
                self.allocate(request, FallocateFlags::empty())
            }
            Operation::Compare
            | Operation::Verify
            | Operation::CompareAndWrite(_)
            | Operation::WriteUncorrectable
            | Operation::Stepped(_) => Err(Status::Unsupported),
        }
    }
}

impl Execute for Resident {
    fn block_buffer(&self) -> Option<Span> {
        // SAFETY: the channel's user knows that the memory goes with the channel.
        Some(unsafe { self.buffers.span(Buffer::Block, BUFFER_BYTES.into()) })
    }

    fn execute(&mut self, request: &Request<'_>) -> Status {
        let Err(status) = self.run(request) else { return Status::Success };
        let Request { operation, lba, blocks, .. } = *request;
        let failed = FailedRequest { operation, lba, blocks };
        self.errors.report(|| IoError { request: Some(failed), status });
        status
    }
}

/// Number of bytes that a system call has moved, or its error.
fn moved(result: isize) -> rustix::io::Result<u32> {
    let failed = |_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO);
    u32::try_from(result).map_err(failed)
}

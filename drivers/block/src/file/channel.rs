//! A core's channel to a file: an io_uring, and a slot for every request in it.
//!
//! `submit` writes an entry into the ring's memory, `commit` is one system call for all of
//! them, and `poll` reads the ring's memory: it makes a system call only where the kernel asks
//! for one (`IORING_SQ_TASKRUN`), or where a request goes on with its next piece.

#![expect(unsafe_code, reason = "the kernel is given addresses")]

use super::buffers::{BUFFER_BYTES, Buffer, Buffers};
use super::slot::Slot;
use super::target::Target;
use crate::{Channel, ChannelSize, Completions, Geometry, IoError, IoErrors, Refusal, Request, Status};
use heapless::Vec;
use io_uring::{IoUring, types};
use luge_memory::Span;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most requests in the kernel.
const DEPTH: u16 = 128;

/// A ring as a channel needs it.
///
/// Completions do not interrupt the core (`COOP_TASKRUN`); the kernel sets a flag in the
/// ring's memory where it has some that wait for the core to come by (`TASKRUN_FLAG`).
pub(super) fn ring() -> io::Result<IoUring> {
    IoUring::builder().setup_submit_all().setup_coop_taskrun().setup_taskrun_flag().build(u32::from(DEPTH))
}

/// A core's channel to a file.
pub(super) struct FileChannel {
    ring: IoUring,
    target: Arc<Target>,
    geometry: Geometry,
    slots: Box<[Slot]>,
    free: Vec<u16, { DEPTH as usize }>,
    buffers: Buffers,
    bounced: Arc<AtomicU64>,
    errors: Arc<IoErrors>,
}

impl FileChannel {
    pub fn new(target: Arc<Target>, bounced: Arc<AtomicU64>, errors: Arc<IoErrors>) -> io::Result<Self> {
        Ok(Self {
            ring: ring()?,
            geometry: target.geometry(),
            target,
            slots: (0..DEPTH).map(|_| Slot::default()).collect(),
            free: (0..DEPTH).collect(),
            buffers: Buffers::new(DEPTH)?,
            bounced,
            errors,
        })
    }

    /// Puts the next piece of a slot's request into the ring.
    fn issue(&mut self, index: u16) {
        let buffer = self.buffer(index);
        let file = types::Fd(self.target.as_fd().as_raw_fd());
        let entry = self.slots[usize::from(index)].entry(file, buffer).user_data(u64::from(index));
        // SAFETY: file, list, buffer and the request's memory stay until the piece has ended:
        // a slot changes only then, and `drop` waits for all of them.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "the ring has an entry for every slot");
    }

    fn buffer(&self, index: u16) -> Span {
        let (buffer, len) = self.slots[usize::from(index)].buffer(index);
        // SAFETY: used only for what is in flight, which ends before `self` does.
        unsafe { self.buffers.span(buffer, len) }
    }

    /// Shows the kernel what is in the ring, and lets it show us what has ended, where one
    /// of the two is needed.
    fn enter(&mut self) {
        let submission = self.ring.submission();
        let needed = !submission.is_empty() || submission.taskrun();
        drop(submission);
        if needed {
            // Where the kernel is short of memory or interrupted, the entries stay in the ring,
            // and the next `poll` comes here again.
            let _ = self.ring.submit();
        }
    }

    /// The next request that has ended. Requests that go on are put into the ring again.
    fn next_ended(&mut self) -> Option<(u16, Status)> {
        loop {
            let piece = self.ring.completion().next()?;
            let index = u16::try_from(piece.user_data()).unwrap_or(u16::MAX);
            let buffer = self.buffer(index);
            match self.slots[usize::from(index)].piece_ended(piece.result(), buffer) {
                Some(status) => {
                    if status != Status::Success {
                        let slot = &self.slots[usize::from(index)];
                        self.errors.report(|| IoError { request: Some(slot.failed()), status });
                    }
                    return Some((index, status));
                }
                None => self.issue(index),
            }
        }
    }
}

impl Channel for FileChannel {
    fn room(&self) -> usize {
        self.free.len()
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.geometry.check(request).map_err(Refusal::Failed)?;
        let index = self.free.pop().ok_or(Refusal::Full)?;
        let slot = &mut self.slots[usize::from(index)];
        slot.begin(request, self.geometry.block_bytes, self.target.direct());
        if slot.is_bounced() {
            self.bounced.fetch_add(1, Ordering::Relaxed);
        }
        self.issue(index);
        Ok(())
    }

    fn commit(&mut self) {
        self.enter();
    }

    fn poll(&mut self, done: &mut Completions) {
        if self.in_flight() == 0 {
            return;
        }
        self.enter();
        while done.room() > 0
            && let Some((index, status)) = self.next_ended()
        {
            let _ = done.push(self.slots[usize::from(index)].tag(), status);
            let _ = self.free.push(index);
        }
        self.enter();
    }

    fn in_flight(&self) -> usize {
        usize::from(DEPTH) - self.free.len()
    }

    fn resize(&mut self, size: &mut ChannelSize) {
        self.geometry.blocks = size.blocks;
    }

    fn block_buffer(&self) -> Option<Span> {
        // SAFETY: the channel's user knows that the memory goes with the channel.
        Some(unsafe { self.buffers.span(Buffer::Block, BUFFER_BYTES.into()) })
    }
}

impl Drop for FileChannel {
    /// Waits for all that is in flight: afterwards the kernel touches no memory of a request.
    fn drop(&mut self) {
        while self.in_flight() > 0 {
            if let Err(error) = self.ring.submit_and_wait(1) {
                let again = [libc::EINTR, libc::EAGAIN, libc::EBUSY];
                let passes = error.raw_os_error().is_some_and(|code| again.contains(&code));
                assert!(passes, "the kernel no longer completes the requests of a file: {error}");
            }
            self.poll(&mut Completions::default());
        }
    }
}

//! Channels of devices that do everything at once, on the core that asks: the work is done in
//! `submit`, or in `commit` where it is a copy that is fetched ahead, and the completions wait in a
//! list until they are polled for.
//!
//! Invariant: between two polls no more is done than one request of the largest size and what
//! was begun before, so that a guest of large requests does not keep a core from the others. Nor
//! does one of many pieces: each counts as a block, where a request has more of them than blocks.

use crate::{
    Channel, ChannelSize, CheckedTransfer, Completion, Completions, Geometry, Refusal, Request, Status, Tag,
};
use heapless::Vec;
use luge_memory::Span;

/// The most completions that wait for a poll.
const DEPTH: usize = 256;

/// The most copies that wait for `commit`.
const WAITING: usize = 64;

/// Bytes of each side of a copy that are fetched ahead: what follows, the CPU itself sees coming.
const FETCHED_BYTES: u32 = 512;

/// Number of copies before its own turn at which a copy is fetched. A CPU waits for ten to sixteen lines
/// at once, and its nearest cache holds a few dozen copies: more than a few ahead only push out each other.
const FETCHED_AHEAD: usize = 4;

/// Number of copies before its own turn at which the first line of its source is asked for: so that the page of
/// a place that was not used lately is found before all lines of the block need it.
const FIRST_LINE_AHEAD: usize = 8;

/// Work of such a device.
pub(crate) trait Execute: Send {
    /// Copy that a request of one span is, if it is one. Copies are made in `commit`, where memory of
    /// the next ones is fetched meanwhile: the misses of a batch overlap.
    fn copy_of(&self, _request: &Request<'_>, _data: &Span) -> Option<MemoryCopy> {
        None
    }

    /// Number of pieces of memory that it goes through to do a request.
    fn pieces(&self, request: &Request<'_>) -> u32 {
        u32::try_from(request.data.len()).unwrap_or(u32::MAX)
    }

    /// Does what a request says that has been checked against the geometry.
    fn execute(&mut self, request: &Request<'_>) -> Status;

    /// Takes over the present size, as of [`Channel::resize`].
    fn resize(&mut self, _size: &mut ChannelSize) {}

    /// Memory for a block in more pieces than a request may have, as of [`Channel::block_buffer`].
    fn block_buffer(&self) -> Option<Span> {
        None
    }
}

/// A copy between two pieces of memory of the same length.
pub(crate) struct MemoryCopy {
    pub(crate) from: Span,
    pub(crate) to: Span,
}

impl MemoryCopy {
    /// Asks the CPU for the first line of the source.
    fn fetch_first_line(&self) {
        self.from.prefetch();
    }

    /// Asks the CPU for the first lines of both sides, [`FETCHED_BYTES`] of each.
    fn fetch(&self) {
        self.from.prefetch_all(FETCHED_BYTES);
        self.to.prefetch_all_to_write(FETCHED_BYTES);
    }
}

/// A core's channel to such a device.
pub(crate) struct ImmediateChannel<D> {
    device: D,
    geometry: Geometry,
    /// Copies that are made at the next `commit`. Memory of the first few is on its way.
    waiting: Vec<(Tag, MemoryCopy), WAITING>,
    /// Completions; those before `handed` were handed out.
    ended: Vec<Completion, DEPTH>,
    handed: usize,
    /// Number of blocks, or pieces of memory, that may still be worked on before the next poll.
    blocks_left: u32,
}

impl<D: Execute> ImmediateChannel<D> {
    pub(crate) const fn new(device: D, geometry: Geometry) -> Self {
        let blocks_left = geometry.transfer_blocks_max;
        Self { device, geometry, waiting: Vec::new(), ended: Vec::new(), handed: 0, blocks_left }
    }

    /// Whether a request may be done later, and is.
    #[inline]
    fn put_off(&mut self, request: &Request<'_>) -> bool {
        let [data] = request.data else { return false };
        let Some(copy) = self.device.copy_of(request, data) else { return false };
        // Later ones are asked for as their turn comes near, in `commit`.
        match self.waiting.len() {
            ..FETCHED_AHEAD => copy.fetch(),
            FETCHED_AHEAD..FIRST_LINE_AHEAD => copy.fetch_first_line(),
            _ => {}
        }
        self.waiting.push((request.tag, copy)).is_ok()
    }

    /// Takes a request that has nothing wrong with it.
    #[inline(always)]
    fn take(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        if self.room() == 0 {
            return Err(Refusal::Full);
        }
        self.blocks_left = self.blocks_left.saturating_sub(self.begin(request));
        Ok(())
    }

    /// Begins a request for which there is room; returns the blocks, or pieces of memory, that it is worth.
    #[inline(always)]
    fn begin(&mut self, request: &Request<'_>) -> u32 {
        if self.put_off(request) {
            return request.blocks;
        }
        let work = request.blocks.max(self.device.pieces(request));
        let status = self.device.execute(request);
        // There is room: it was asked for.
        let _ = self.ended.push(Completion::new(request.tag, status));
        work
    }

    /// Takes as many requests as there is room for, which have nothing wrong with them; returns how many.
    #[inline]
    fn take_all(&mut self, transfers: &[CheckedTransfer<'_>]) -> usize {
        // The room for completions is known before; what is left to be worked on is not.
        let places = DEPTH - self.ended.len() - self.waiting.len();
        let fitting = &transfers[..places.min(transfers.len())];
        // A copy of their number stays in a register.
        let mut blocks_left = self.blocks_left;
        let taken = fitting.iter().take_while(|transfer| {
            let begins = blocks_left > 0;
            if begins {
                blocks_left = blocks_left.saturating_sub(self.begin(transfer));
            }
            begins
        });
        let taken = taken.count();
        self.blocks_left = blocks_left;
        taken
    }

    /// Makes the copies that wait.
    #[inline(never)]
    fn copy_all(&mut self) {
        let Self { waiting, ended, .. } = self;
        for (turn, (tag, copy)) in waiting.iter().enumerate() {
            if let Some((_, later)) = waiting.get(turn + FIRST_LINE_AHEAD) {
                later.fetch_first_line();
            }
            if let Some((_, later)) = waiting.get(turn + FETCHED_AHEAD) {
                later.fetch();
            }
            copy.from.copy_to(&copy.to);
            // There is room: it was counted when the request was taken.
            let _ = ended.push(Completion::new(*tag, Status::Success));
        }
        waiting.clear();
    }

    /// Hands out completions, as many as `done` has room for.
    #[inline(never)]
    fn hand_out(&mut self, done: &mut Completions) {
        self.handed += done.extend(&self.ended[self.handed..]);
        if self.handed == self.ended.len() {
            self.ended.clear();
            self.handed = 0;
        }
    }
}

impl<D: Execute> Channel for ImmediateChannel<D> {
    #[inline]
    fn room(&self) -> usize {
        (DEPTH - self.ended.len() - self.waiting.len()).min(self.blocks_left as usize)
    }

    fn keeps_requests(&self) -> bool {
        false
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.geometry.check(request).map_err(Refusal::Failed)?;
        self.take(request)
    }

    #[inline(always)]
    fn submit_checked(&mut self, transfer: &CheckedTransfer<'_>) -> Result<(), Refusal> {
        self.take(transfer)
    }

    fn submit_all(&mut self, transfers: &[CheckedTransfer<'_>]) -> (usize, Option<Refusal>) {
        let taken = self.take_all(transfers);
        (taken, (taken < transfers.len()).then_some(Refusal::Full))
    }

    fn commit(&mut self) {
        if !self.waiting.is_empty() {
            self.copy_all();
        }
    }

    fn poll(&mut self, done: &mut Completions) {
        self.blocks_left = self.geometry.transfer_blocks_max;
        if !self.ended.is_empty() {
            self.hand_out(done);
        }
    }

    fn in_flight(&self) -> usize {
        self.waiting.len() + self.ended.len() - self.handed
    }

    /// # Panics
    /// If a copy waits: its memory could go.
    fn resize(&mut self, size: &mut ChannelSize) {
        assert!(self.waiting.is_empty(), "a channel is resized before its copies were made");
        self.geometry.blocks = size.blocks;
        self.device.resize(size);
    }

    fn block_buffer(&self) -> Option<Span> {
        self.device.block_buffer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blocks, Lba, Operation, Shape};

    struct Counter;

    impl Execute for Counter {
        fn execute(&mut self, _request: &Request<'_>) -> Status {
            Status::Success
        }
    }

    #[test]
    fn large_requests_are_put_off_until_the_core_has_polled() {
        let shape = Shape::new(512, Blocks(1 << 20)).unwrap();
        let mut channel = ImmediateChannel::new(Counter, shape.geometry(1 << 20));
        let request = |blocks| Request {
            tag: Tag::default(),
            operation: Operation::Discard,
            lba: Lba(0),
            blocks,
            data: &[],
        };
        assert_eq!(channel.submit(&request(2000)), Ok(()));
        assert_eq!(channel.submit(&request(2048)), Ok(()), "what was begun is done");
        assert_eq!(channel.room(), 0);
        assert_eq!(channel.submit(&request(1)), Err(Refusal::Full));
        channel.poll(&mut Completions::default());
        assert_eq!(channel.room(), DEPTH);
        assert_eq!(channel.submit(&request(1)), Ok(()));
    }
}

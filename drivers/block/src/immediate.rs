//! Channels of devices that do everything at once, on the core that asks: the work is done in
//! `submit`, or in `commit` where it is a copy that is fetched ahead, and the completions wait in a
//! list until they are polled for. Runs of `serve_all` are done within the call, and have no completions.
//!
//! Invariant: between two polls no more is done than one request of the largest size and what
//! was begun before, so that a guest of large requests does not keep a core from the others. Nor
//! does one of many pieces: each counts as a block, where a request has more of them than blocks.

use crate::{
    Channel, ChannelSize, CheckedTransfer, Completion, Completions, Geometry, Refusal, Request, Status, Tag,
};
use heapless::Vec;
use luge_memory::Span;
use std::ops::Deref;

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

    /// Length of the shortest run that is done at once, as of [`Channel::at_once_min`].
    const AT_ONCE_MIN: usize = 1;

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

/// Completions that wait for a poll.
struct Ended {
    list: [Completion; DEPTH],
    count: usize,
    /// Number of those that were handed out, from the first one on.
    handed: usize,
}

impl Ended {
    const fn new() -> Self {
        Self { list: [Completion::new(Tag::of_volume(0), Status::Success); DEPTH], count: 0, handed: 0 }
    }

    /// Number of completions that can be added.
    #[inline]
    const fn room(&self) -> usize {
        DEPTH - self.count
    }

    /// Number of completions that were not handed out.
    #[inline]
    const fn waiting(&self) -> usize {
        self.count - self.handed
    }

    /// Adds completions, and returns their places.
    #[inline]
    fn add(&mut self, count: usize) -> &mut [Completion] {
        let places = &mut self.list[self.count..self.count + count];
        self.count += count;
        places
    }

    /// Hands out completions, as many as `done` has room for.
    #[inline(never)]
    fn hand_out(&mut self, done: &mut Completions) {
        self.handed += done.extend(&self.list[self.handed..self.count]);
        if self.handed == self.count {
            (self.count, self.handed) = (0, 0);
        }
    }
}

/// A core's channel to such a device.
pub(crate) struct ImmediateChannel<D> {
    work: Worker<D>,
    geometry: Geometry,
    /// Completions, also of copies that wait: those are made before any completion is handed out.
    ended: Ended,
    /// Number of blocks, or pieces of memory, that may still be worked on before the next poll.
    blocks_left: u32,
}

/// A device, with the copies that are made at the next `commit`. Memory of the first few is on its way.
struct Worker<D> {
    device: D,
    waiting: Vec<MemoryCopy, WAITING>,
}

impl<D: Execute> Worker<D> {
    /// Blocks, or pieces of memory, that a request is worth.
    #[inline]
    fn work_of(&self, request: &Request<'_>) -> u32 {
        request.blocks.max(self.device.pieces(request))
    }

    /// Does a request, or puts it off; returns its status.
    #[inline(always)]
    fn begin(&mut self, request: &Request<'_>) -> Status {
        if self.put_off(request) { Status::Success } else { self.device.execute(request) }
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
        self.waiting.push(copy).is_ok()
    }

    /// Makes the copies that wait.
    #[inline]
    fn copy_all(&mut self) {
        if !self.waiting.is_empty() {
            self.copy_several();
        }
    }

    #[inline(never)]
    fn copy_several(&mut self) {
        for (turn, copy) in self.waiting.iter().enumerate() {
            if let Some(later) = self.waiting.get(turn + FIRST_LINE_AHEAD) {
                later.fetch_first_line();
            }
            if let Some(later) = self.waiting.get(turn + FETCHED_AHEAD) {
                later.fetch();
            }
            copy.from.copy_to(&copy.to);
        }
        self.waiting.clear();
    }
}

impl<D: Execute> ImmediateChannel<D> {
    pub(crate) const fn new(device: D, geometry: Geometry) -> Self {
        let blocks_left = geometry.transfer_blocks_max;
        let work = Worker { device, waiting: Vec::new() };
        Self { work, geometry, ended: Ended::new(), blocks_left }
    }

    /// Takes requests that have nothing wrong with them, as many as there is room for; returns how many.
    #[inline]
    fn take_all<'a, T: Deref<Target = Request<'a>>>(&mut self, requests: &[T]) -> usize {
        let fitting = &requests[..self.ended.room().min(requests.len())];
        let taken = &fitting[..self.number_to_begin(fitting)];
        for (request, place) in taken.iter().zip(self.ended.add(taken.len())) {
            *place = Completion::new(request.tag, self.work.begin(request));
        }
        taken.len()
    }

    /// Number of requests that may begin before the next poll. Their work counts as done.
    #[inline]
    fn number_to_begin<'a, T: Deref<Target = Request<'a>>>(&mut self, requests: &[T]) -> usize {
        let Self { work, blocks_left, .. } = self;
        if *blocks_left == 0 {
            return 0;
        }
        let all = requests.iter().map(|request| u64::from(work.work_of(request))).sum();
        // All of them, nearly always.
        if let Some(left) = u64::from(*blocks_left).checked_sub(all) {
            *blocks_left = u32::try_from(left).unwrap_or(0);
            return requests.len();
        }
        let begins = |request: &&T| {
            let begins = *blocks_left > 0;
            *blocks_left = blocks_left.saturating_sub(work.work_of(request));
            begins
        };
        requests.iter().take_while(begins).count()
    }

    /// Counts only the work of requests that were done, so that the others can be submitted before the next poll.
    #[cold]
    fn count_done(&mut self, before: u32, done: &[CheckedTransfer<'_>]) {
        let work = done.iter().map(|request| self.work.work_of(request)).fold(0, u32::saturating_add);
        self.blocks_left = before.saturating_sub(work);
    }
}

impl<D: Execute> Channel for ImmediateChannel<D> {
    #[inline]
    fn room(&self) -> usize {
        self.ended.room().min(self.blocks_left as usize)
    }

    fn keeps_requests(&self) -> bool {
        false
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.geometry.check(request).map_err(Refusal::Failed)?;
        if self.take_all(&[request]) == 0 { Err(Refusal::Full) } else { Ok(()) }
    }

    fn submit_all(&mut self, transfers: &[CheckedTransfer<'_>]) -> (usize, Option<Refusal>) {
        let taken = self.take_all(transfers);
        (taken, (taken < transfers.len()).then_some(Refusal::Full))
    }

    fn at_once_min(&self) -> Option<usize> {
        Some(D::AT_ONCE_MIN)
    }

    fn serve_all(&mut self, transfers: &[CheckedTransfer<'_>]) -> (usize, Option<Refusal>) {
        let blocks_left = self.blocks_left;
        let begun = &transfers[..self.number_to_begin(transfers)];
        let refused = begun.iter().enumerate().find_map(|(at, transfer)| {
            let status = self.work.begin(transfer);
            (status != Status::Success).then_some((at, status))
        });
        self.work.copy_all();
        if let Some((at, status)) = refused {
            self.count_done(blocks_left, &begun[..at]);
            return (at, Some(Refusal::Failed(status)));
        }
        (begun.len(), (begun.len() < transfers.len()).then_some(Refusal::Full))
    }

    fn commit(&mut self) {
        self.work.copy_all();
    }

    fn poll(&mut self, done: &mut Completions) {
        self.blocks_left = self.geometry.transfer_blocks_max;
        if self.ended.waiting() > 0 {
            self.work.copy_all();
            self.ended.hand_out(done);
        }
    }

    fn in_flight(&self) -> usize {
        self.ended.waiting()
    }

    /// # Panics
    /// If a copy waits: its memory could go.
    fn resize(&mut self, size: &mut ChannelSize) {
        assert!(self.work.waiting.is_empty(), "a channel is resized before its copies were made");
        self.geometry.blocks = size.blocks;
        self.work.device.resize(size);
    }

    fn block_buffer(&self) -> Option<Span> {
        self.work.device.block_buffer()
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "spans that nobody looks into")]
mod tests {
    use super::*;
    use crate::{Blocks, Lba, Operation, Shape, TransferExtent};
    use luge_memory::Iova;
    use std::ptr::NonNull;

    /// A device whose block 7 is bad.
    struct Counter;

    impl Execute for Counter {
        fn execute(&mut self, request: &Request<'_>) -> Status {
            if request.lba == Lba(7) { Status::MediaError } else { Status::Success }
        }
    }

    fn channel() -> ImmediateChannel<Counter> {
        let shape = Shape::new(512, Blocks(1 << 20)).unwrap();
        ImmediateChannel::new(Counter, shape.geometry(1 << 20))
    }

    fn discard(blocks: u32) -> Request<'static> {
        Request { tag: Tag::default(), operation: Operation::Discard, lba: Lba(0), blocks, data: &[] }
    }

    #[test]
    fn large_requests_are_put_off_until_the_core_has_polled() {
        let mut channel = channel();
        assert_eq!(channel.submit(&discard(2000)), Ok(()));
        assert_eq!(channel.submit(&discard(2048)), Ok(()), "what was begun is done");
        assert_eq!(channel.room(), 0);
        assert_eq!(channel.submit(&discard(1)), Err(Refusal::Full));
        channel.poll(&mut Completions::default());
        assert_eq!(channel.room(), DEPTH);
        assert_eq!(channel.submit(&discard(1)), Ok(()));
    }

    /// Does reads of so many blocks each at once, from one block on; returns how many, and why not the next.
    fn serve(
        channel: &mut ImmediateChannel<Counter>,
        first: u64,
        blocks: &[u32],
    ) -> (usize, Option<Refusal>) {
        let extent = TransferExtent::new(&channel.geometry, Lba(0), channel.geometry.blocks);
        // SAFETY: nothing looks at the bytes of these spans.
        let span = |blocks: &u32| unsafe { Span::new(NonNull::dangling(), Iova(0), 512 * blocks) };
        let spans: Vec<Span, 8> = blocks.iter().map(span).collect();
        let reads = spans.iter().zip(blocks).zip(first..).map(|((span, &blocks), lba)| {
            let data = std::slice::from_ref(span);
            Request { tag: Tag::default(), operation: Operation::Read, lba: Lba(lba), blocks, data }
        });
        let checked: Vec<_, 8> = reads.map(|read| extent.check(&read, read.tag).unwrap()).collect();
        channel.serve_all(&checked)
    }

    #[test]
    fn a_run_done_at_once_has_the_bounds_of_others() {
        let mut channel = channel();
        let (count, refusal) = serve(&mut channel, 100, &[2000, 40, 2048, 1]);
        assert_eq!(count, 3, "what was begun is done");
        assert_eq!(refusal, Some(Refusal::Full));
        assert_eq!(channel.submit(&discard(1)), Err(Refusal::Full));
        assert_eq!(serve(&mut channel, 100, &[1]).0, 0);
        let mut done = Completions::default();
        channel.poll(&mut done);
        assert!(done.as_slice().is_empty(), "they have no completions");
        assert_eq!(serve(&mut channel, 100, &[1]).0, 1);
    }

    #[test]
    fn a_run_done_at_once_stops_at_a_request_that_fails() {
        let mut channel = channel();
        let (count, refusal) = serve(&mut channel, 5, &[1, 1, 1, 1]);
        assert_eq!(count, 2);
        assert_eq!(refusal, Some(Refusal::Failed(Status::MediaError)));
        assert_eq!(serve(&mut channel, 8, &[1, 1]).1, None);
        assert_eq!(channel.in_flight(), 0);
    }

    #[test]
    fn a_request_that_fails_in_a_run_can_be_submitted_by_itself_before_the_next_poll() {
        let mut channel = channel();
        let (count, refusal) = serve(&mut channel, 7, &[2048, 2048]);
        assert_eq!(count, 0);
        assert_eq!(refusal, Some(Refusal::Failed(Status::MediaError)));
        let bad = Request { lba: Lba(7), ..discard(2048) };
        assert_eq!(channel.submit(&bad), Ok(()));
        let mut done = Completions::default();
        channel.poll(&mut done);
        assert_eq!(done.as_slice().len(), 1);
        assert_eq!(done.as_slice()[0].status(), Status::MediaError);
    }

    #[test]
    fn what_a_run_did_before_a_request_that_failed_counts_until_the_next_poll() {
        let mut channel = channel();
        assert_eq!(serve(&mut channel, 6, &[2000, 2048]).0, 1);
        assert_eq!(channel.submit(&discard(48)), Ok(()));
        assert_eq!(channel.submit(&discard(1)), Err(Refusal::Full));
    }

    #[test]
    fn a_request_without_blocks_waits_for_a_poll_as_others_do() {
        let mut channel = channel();
        let flush = Request { operation: Operation::Flush, blocks: 0, ..discard(0) };
        assert_eq!(channel.submit(&discard(2048)), Ok(()));
        assert_eq!(channel.submit(&flush), Err(Refusal::Full), "there is no room");
        channel.poll(&mut Completions::default());
        assert_eq!(channel.submit(&flush), Ok(()));
    }
}

//! Channels of devices that do everything at once, on the core that asks: the work is done in
//! `submit`, or in `commit` where memory had to be fetched, and the completions wait in a list
//! until they are polled for.
//!
//! Invariant: between two polls no more is done than one request of the largest size and what
//! was begun before, so that a guest of large requests does not keep a core from the others.

use crate::{Channel, Completion, Completions, Geometry, Lba, Operation, Refusal, Request, Status, Tag};
use heapless::Vec;
use luge_memory::Span;

/// How many completions may wait for a poll.
const DEPTH: usize = 256;

/// How many requests may wait for their memory.
const FETCHING: usize = 64;

/// What such a device does.
pub(crate) trait Execute: Send {
    /// Asks the CPU for the memory that a request of one span needs. Whether that is worth
    /// waiting for while others are submitted: their misses overlap then.
    fn fetch(&self, _request: &Request<'_>, _data: &Span) -> bool {
        false
    }

    /// Does what a request says that has been checked against the geometry.
    fn execute(&self, request: &Request<'_>) -> Status;
}

/// A request whose memory is on its way.
struct Fetching {
    tag: Tag,
    operation: Operation,
    lba: Lba,
    blocks: u32,
    data: [Span; 1],
}

impl Fetching {
    fn request(&self) -> Request<'_> {
        let Self { tag, operation, lba, blocks, ref data } = *self;
        Request { tag, operation, lba, blocks, data }
    }
}

/// A core's channel to such a device.
pub(crate) struct ImmediateChannel<D> {
    device: D,
    geometry: Geometry,
    fetching: Vec<Fetching, FETCHING>,
    /// Completions; those before `handed` were handed out.
    ended: Vec<Completion, DEPTH>,
    handed: usize,
    /// How many blocks may still be worked on before the next poll.
    blocks_left: u32,
}

impl<D: Execute> ImmediateChannel<D> {
    pub(crate) const fn new(device: D, geometry: Geometry) -> Self {
        let blocks_left = geometry.transfer_blocks_max;
        Self { device, geometry, fetching: Vec::new(), ended: Vec::new(), handed: 0, blocks_left }
    }

    /// Whether a request may be done later, and is.
    #[inline]
    fn put_off(&mut self, request: &Request<'_>) -> bool {
        let &Request { tag, operation, lba, blocks, data: &[data] } = request else { return false };
        let waits = self.device.fetch(request, &data);
        waits && self.fetching.push(Fetching { tag, operation, lba, blocks, data: [data] }).is_ok()
    }
}

impl<D: Execute> Channel for ImmediateChannel<D> {
    #[inline]
    fn room(&self) -> usize {
        (DEPTH - self.ended.len() - self.fetching.len()).min(self.blocks_left as usize)
    }

    #[inline(always)]
    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.geometry.check(request).map_err(Refusal::Failed)?;
        let waiting = self.ended.len() + self.fetching.len();
        if waiting >= DEPTH || self.blocks_left == 0 {
            return Err(Refusal::Full);
        }
        self.blocks_left = self.blocks_left.saturating_sub(request.blocks);
        if !self.put_off(request) {
            execute(&self.device, request, &mut self.ended);
        }
        Ok(())
    }

    fn commit(&mut self) {
        let Self { device, fetching, ended, .. } = self;
        fetching.iter().for_each(|waiting| execute(device, &waiting.request(), ended));
        fetching.clear();
    }

    fn poll(&mut self, done: &mut Completions) {
        self.blocks_left = self.geometry.transfer_blocks_max;
        self.handed += done.extend(&self.ended[self.handed..]);
        if self.handed == self.ended.len() {
            self.ended.clear();
            self.handed = 0;
        }
    }

    fn in_flight(&self) -> usize {
        self.fetching.len() + self.ended.len() - self.handed
    }
}

/// Does a request and notes its end, for which there is room: it was counted when it was taken.
#[inline]
fn execute<D: Execute>(device: &D, request: &Request<'_>, ended: &mut Vec<Completion, DEPTH>) {
    let _ = ended.push(Completion { tag: request.tag, status: device.execute(request) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blocks, Shape};

    struct Counter;

    impl Execute for Counter {
        fn execute(&self, _request: &Request<'_>) -> Status {
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
        assert_eq!((channel.room(), channel.submit(&request(1))), (0, Err(Refusal::Full)));
        channel.poll(&mut Completions::default());
        assert_eq!((channel.room(), channel.submit(&request(1))), (DEPTH, Ok(())));
    }
}

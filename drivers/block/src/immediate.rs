//! Channels of devices that do everything at once, on the core that asks: the work is done
//! in `submit`, and the completions wait in a list until they are polled for.
//!
//! Invariant: between two polls no more is done than one request of the largest size and what
//! was begun before, so that a guest of large requests does not keep a core from the others.

use crate::{Channel, Completion, Completions, Geometry, Refusal, Request, Status};
use heapless::Vec;

/// How many completions may wait for a poll.
const DEPTH: usize = 256;

/// What such a device does.
pub(crate) trait Execute: Send {
    /// Does what a request says that has been checked against the geometry.
    fn execute(&self, request: &Request<'_>) -> Status;
}

/// A core's channel to such a device.
pub(crate) struct ImmediateChannel<D> {
    device: D,
    geometry: Geometry,
    /// Completions; those before `handed` were handed out.
    ended: Vec<Completion, DEPTH>,
    handed: usize,
    /// How many blocks may still be worked on before the next poll.
    blocks_left: u32,
}

impl<D: Execute> ImmediateChannel<D> {
    pub(crate) const fn new(device: D, geometry: Geometry) -> Self {
        Self { device, geometry, ended: Vec::new(), handed: 0, blocks_left: geometry.transfer_blocks_max }
    }
}

impl<D: Execute> Channel for ImmediateChannel<D> {
    #[inline]
    fn room(&self) -> usize {
        (self.ended.capacity() - self.ended.len()).min(self.blocks_left as usize)
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.geometry.check(request).map_err(Refusal::Failed)?;
        if self.ended.is_full() || self.blocks_left == 0 {
            return Err(Refusal::Full);
        }
        self.blocks_left = self.blocks_left.saturating_sub(request.blocks);
        let completion = Completion { tag: request.tag, status: self.device.execute(request) };
        self.ended.push(completion).map_err(|_| Refusal::Full)
    }

    fn commit(&mut self) {}

    fn poll(&mut self, done: &mut Completions) {
        self.blocks_left = self.geometry.transfer_blocks_max;
        self.handed += done.extend(&self.ended[self.handed..]);
        if self.handed == self.ended.len() {
            self.ended.clear();
            self.handed = 0;
        }
    }

    fn in_flight(&self) -> usize {
        self.ended.len() - self.handed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blocks, Lba, Operation, Shape, Tag};

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

//! Channels of devices that do everything at once, on the core that asks: the work is done
//! in `submit`, and the completions wait in a list until they are polled for.

use crate::{Channel, Completion, Completions, Geometry, Refusal, Request, Status};
use heapless::Deque;

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
    ended: Deque<Completion, DEPTH>,
}

impl<D: Execute> ImmediateChannel<D> {
    pub(crate) const fn new(device: D, geometry: Geometry) -> Self {
        Self { device, geometry, ended: Deque::new() }
    }
}

impl<D: Execute> Channel for ImmediateChannel<D> {
    #[inline]
    fn room(&self) -> usize {
        self.ended.capacity() - self.ended.len()
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.geometry.check(request).map_err(Refusal::Failed)?;
        if self.ended.is_full() {
            return Err(Refusal::Full);
        }
        let completion = Completion { tag: request.tag, status: self.device.execute(request) };
        self.ended.push_back(completion).map_err(|_| Refusal::Full)
    }

    fn commit(&mut self) {}

    fn poll(&mut self, done: &mut Completions) {
        while done.room() > 0
            && let Some(Completion { tag, status }) = self.ended.pop_front()
        {
            // There is room, so nothing is lost here.
            let _ = done.push(tag, status);
        }
    }

    fn in_flight(&self) -> usize {
        self.ended.len()
    }
}

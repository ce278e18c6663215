//! Completions that come late, and in another order.

use crate::{Channel, Completion, Completions, CoreId, Device, Geometry, Lba, OpenError, Refusal, Request};
use luge_memory::Span;
use luge_seeded::Random;
use std::sync::Arc;

/// A device whose completions come late, in an order that follows from a seed. What the requests do to data
/// and memory is not delayed.
pub struct Delayed {
    device: Arc<dyn Device>,
    seed: u64,
}

impl Delayed {
    /// `device`, delayed.
    #[must_use]
    pub fn new(device: Arc<dyn Device>, seed: u64) -> Self {
        Self { device, seed }
    }
}

impl Device for Delayed {
    fn window(&self) -> Lba {
        self.device.window()
    }

    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        let channel = self.device.open(core)?;
        let random = Random::new(self.seed ^ u64::from(core.0));
        Ok(Box::new(DelayedChannel { channel, random, held: Vec::new() }))
    }
}

struct DelayedChannel {
    channel: Box<dyn Channel>,
    random: Random,
    held: Vec<Completion>,
}

impl Channel for DelayedChannel {
    fn room(&self) -> usize {
        self.channel.room()
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.channel.submit(request)
    }

    fn commit(&mut self) {
        self.channel.commit();
    }

    /// Hands out some of those held, often not all: a poll that finds less than there is, is legal.
    fn poll(&mut self, done: &mut Completions) {
        let mut ended = Completions::default();
        self.channel.poll(&mut ended);
        self.held.extend_from_slice(ended.as_slice());
        let stay = self.random.below(self.held.len());
        while self.held.len() > stay && done.room() > 0 {
            let ended = self.held.swap_remove(self.random.below(self.held.len()));
            let _ = done.push(ended.tag(), ended.status());
        }
    }

    fn in_flight(&self) -> usize {
        self.channel.in_flight() + self.held.len()
    }

    fn block_buffer(&self) -> Option<Span> {
        self.channel.block_buffer()
    }

    fn step_memory(&self) -> Option<Span> {
        self.channel.step_memory()
    }
}

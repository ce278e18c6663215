//! Completions that come late, and in another order.

use crate::{Channel, Completion, Completions, CoreId, Device, Geometry, Lba, OpenError, Refusal, Request};
use luge_memory::Span;
use luge_seeded::Random;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Gate that lets a number of completions pass. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    left: Arc<AtomicUsize>,
}

/// An open gate.
impl Default for Gate {
    fn default() -> Self {
        Self { left: Arc::new(AtomicUsize::new(usize::MAX)) }
    }
}

impl Gate {
    /// Lets all completions pass from now on.
    pub fn open(&self) {
        self.left.store(usize::MAX, Ordering::Relaxed);
    }

    /// Lets none pass from now on.
    pub fn close(&self) {
        self.left.store(0, Ordering::Relaxed);
    }

    /// Lets `count` more pass.
    pub fn let_pass(&self, count: usize) {
        let more = |left: usize| Some(left.saturating_add(count));
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Whether one more may pass, which is then counted.
    #[must_use]
    pub fn pass(&self) -> bool {
        let less = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// A device whose completions wait behind a gate and leave it in an order that follows from
/// a seed. What the requests do to data and memory is not delayed.
pub struct Delayed {
    device: Arc<dyn Device>,
    gate: Gate,
    seed: u64,
}

impl Delayed {
    /// `device` behind a gate that is open.
    #[must_use]
    pub fn new(device: Arc<dyn Device>, seed: u64) -> Self {
        Self { device, gate: Gate::default(), seed }
    }

    /// The gate of all its channels.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.gate.clone()
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
        Ok(Box::new(DelayedChannel { channel, gate: self.gate.clone(), random, held: Vec::new() }))
    }
}

struct DelayedChannel {
    channel: Box<dyn Channel>,
    gate: Gate,
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
        while self.held.len() > stay && done.room() > 0 && self.gate.pass() {
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
}

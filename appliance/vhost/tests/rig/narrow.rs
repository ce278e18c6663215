//! A device with limits of its own.

use luge_block::{Channel, Completions, CoreId, Device, Geometry, OpenError, Refusal, Request};
use luge_seeded::Random;
use std::sync::Arc;

/// A device that takes less at once than the one beneath, and now and then not even what it
/// said it had room for.
pub struct Narrow {
    pub device: Arc<dyn Device>,
    pub geometry: Geometry,
    pub depth: usize,
    pub seed: u64,
}

struct NarrowChannel {
    channel: Box<dyn Channel>,
    geometry: Geometry,
    depth: usize,
    random: Random,
}

impl Device for Narrow {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        let channel = self.device.open(core)?;
        let random = Random::new(self.seed);
        Ok(Box::new(NarrowChannel { channel, geometry: self.geometry, depth: self.depth, random }))
    }
}

impl Channel for NarrowChannel {
    fn room(&self) -> usize {
        self.depth.saturating_sub(self.channel.in_flight())
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.geometry.check(request).map_err(Refusal::Failed)?;
        if self.room() == 0 || self.random.once_in(3) {
            return Err(Refusal::Full);
        }
        self.channel.submit(request)
    }

    fn commit(&mut self) {
        self.channel.commit();
    }

    fn poll(&mut self, done: &mut Completions) {
        self.channel.poll(done);
    }

    fn in_flight(&self) -> usize {
        self.channel.in_flight()
    }
}

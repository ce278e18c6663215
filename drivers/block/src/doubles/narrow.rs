//! A device with limits of its own.

#![expect(unsafe_code, reason = "a span of the block buffer is an address")]

use crate::{
    BLOCK_BUFFER_BYTES, Channel, Completions, CoreId, Device, Geometry, Lba, OpenError, Refusal, Request,
};
use luge_memory::{DmaMemory, DmaSpace, PageSize, Span};
use luge_seeded::Random;
use std::sync::Arc;

/// A device that takes less at once than the one beneath, and, where it is told so, now and then not even
/// what it said it had room for.
pub struct Narrow {
    device: Arc<dyn Device>,
    geometry: Geometry,
    depth: usize,
    refused_per_mille: u16,
    seed: u64,
}

impl Narrow {
    /// `device` with other limits, and room for `depth` requests. It zeroes and discards no more at once than
    /// the device does.
    #[must_use]
    pub fn new(device: Arc<dyn Device>, limits: Geometry, depth: usize) -> Self {
        let beneath = device.geometry();
        let geometry = Geometry {
            discard_blocks_max: limits.discard_blocks_max.min(beneath.discard_blocks_max),
            write_zeroes_blocks_max: limits.write_zeroes_blocks_max.min(beneath.write_zeroes_blocks_max),
            ..limits
        };
        Self { device, geometry, depth, refused_per_mille: 0, seed: 0 }
    }

    /// Lets so many of a thousand requests be refused as where there is no room.
    #[must_use]
    pub fn refusing(self, per_mille: u16, seed: u64) -> Self {
        Self { refused_per_mille: per_mille, seed, ..self }
    }
}

impl Device for Narrow {
    fn window(&self) -> Lba {
        self.device.window()
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        let buffer = DmaMemory::allocate(&DmaSpace::new(), BLOCK_BUFFER_BYTES.into(), PageSize::Base, None);
        let buffer = buffer
            .map_err(|error| OpenError::Memory { device: "narrow".into(), reason: error.to_string() })?;
        Ok(Box::new(NarrowChannel {
            channel: self.device.open(core)?,
            buffer,
            geometry: self.geometry,
            depth: self.depth,
            refused_per_mille: self.refused_per_mille,
            random: Random::new(self.seed ^ u64::from(core.0)),
        }))
    }
}

struct NarrowChannel {
    channel: Box<dyn Channel>,
    buffer: DmaMemory,
    geometry: Geometry,
    depth: usize,
    refused_per_mille: u16,
    random: Random,
}

impl Channel for NarrowChannel {
    fn room(&self) -> usize {
        self.channel.room().min(self.depth.saturating_sub(self.channel.in_flight()))
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.geometry.check(request).map_err(Refusal::Failed)?;
        if self.room() == 0 || self.random.below(1000) < self.refused_per_mille {
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

    fn block_buffer(&self) -> Option<Span> {
        // SAFETY: whoever asks knows that the memory goes with the channel.
        unsafe { self.buffer.span(0, BLOCK_BUFFER_BYTES) }
    }

    fn step_memory(&self) -> Option<Span> {
        self.channel.step_memory()
    }
}

//! Requests that fail.

use crate::{
    Channel, Completion, Completions, CoreId, Device, Geometry, Lba, OpenError, Operation, Refusal, Request,
    Status,
};
use luge_memory::Span;
use luge_seeded::Random;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Which requests fail, and how.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Range of blocks: requests with a block in it may fail, flushes excepted.
    pub blocks: Range<u64>,
    /// Number of failures in a thousand of those, by chance.
    pub per_mille: u16,
    /// Status of those that fail.
    pub status: Status,
}

impl Fault {
    /// Whether it may hit the request.
    fn reaches(&self, request: &Request<'_>) -> bool {
        let end = request.lba.0.saturating_add(u64::from(request.blocks));
        let overlaps = request.lba.0 < self.blocks.end && self.blocks.start < end;
        overlaps && request.operation != Operation::Flush
    }
}

/// A device some of whose requests fail, as a seed says. A request that fails has had its
/// effect or none: that, too, is up to the seed.
pub struct Faulty {
    device: Arc<dyn Device>,
    faults: Arc<[Fault]>,
    seed: u64,
}

impl Faulty {
    /// `device` with these faults; of several that fit, the first one hits.
    #[must_use]
    pub fn new(device: Arc<dyn Device>, seed: u64, faults: &[Fault]) -> Self {
        Self { device, faults: faults.into(), seed }
    }
}

impl Device for Faulty {
    fn window(&self) -> Lba {
        self.device.window()
    }

    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        let channel = self.device.open(core)?;
        Ok(Box::new(FaultyChannel {
            geometry: self.device.geometry(),
            capacity: channel.room(),
            channel,
            faults: self.faults.clone(),
            random: Random::new(self.seed ^ u64::from(core.0)),
            doomed: Vec::new(),
            ended: VecDeque::new(),
        }))
    }
}

struct FaultyChannel {
    channel: Box<dyn Channel>,
    geometry: Geometry,
    /// Number of requests that the channel takes when it is empty: those that it never sees count too.
    capacity: usize,
    faults: Arc<[Fault]>,
    random: Random,
    /// Requests that the device carries out, and that fail nevertheless.
    doomed: Vec<Completion>,
    ended: VecDeque<Completion>,
}

impl FaultyChannel {
    /// Failure of a request, if it is to fail.
    fn fate(&mut self, request: &Request<'_>) -> Option<Completion> {
        let Self { faults, random, .. } = self;
        let fault =
            faults.iter().find(|fault| fault.reaches(request) && random.below(1000) < fault.per_mille)?;
        Some(Completion::new(request.tag, fault.status))
    }

    /// The completion as it is handed out.
    fn spoil(&mut self, completion: Completion) -> Completion {
        match self.doomed.iter().position(|doomed| doomed.tag() == completion.tag()) {
            Some(index) => self.doomed.swap_remove(index),
            None => completion,
        }
    }
}

impl Channel for FaultyChannel {
    fn room(&self) -> usize {
        self.channel.room().min(self.capacity.saturating_sub(self.in_flight()))
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.geometry.check(request).map_err(Refusal::Failed)?;
        if self.room() == 0 {
            return Err(Refusal::Full);
        }
        let fate = self.fate(request);
        if let Some(failure) = fate
            && self.random.once_in(2)
        {
            self.ended.push_back(failure);
            return Ok(());
        }
        self.channel.submit(request)?;
        self.doomed.extend(fate);
        Ok(())
    }

    fn commit(&mut self) {
        self.channel.commit();
    }

    fn poll(&mut self, done: &mut Completions) {
        let mut ended = Completions::default();
        self.channel.poll(&mut ended);
        for &completion in ended.as_slice() {
            let completion = self.spoil(completion);
            self.ended.push_back(completion);
        }
        while done.room() > 0
            && let Some(ended) = self.ended.pop_front()
        {
            let _ = done.push(ended.tag(), ended.status());
        }
    }

    fn in_flight(&self) -> usize {
        self.channel.in_flight() + self.ended.len()
    }

    fn block_buffer(&self) -> Option<Span> {
        self.channel.block_buffer()
    }

    fn step_memory(&self) -> Option<Span> {
        self.channel.step_memory()
    }
}

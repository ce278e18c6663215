//! An SSD, its controller, and buffers: a test is then three to eight lines.

#![expect(unsafe_code, reason = "spans of DMA memory are addresses")]

use super::{Script, ScriptedSsd};
use crate::{Controller, ControllerError, Options};
use luge_block::{
    Blocks, Channel, Completion, Completions, CoreId, Device, Lba, Operation, Request, Status, Tag,
};
use luge_memory::{DmaMemory, DmaSpace, PageSize, Span};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of a rig's buffers.
const BUFFER_BYTES: u32 = 8 << 20;

/// Time limit of a test for an event that has to happen.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A scripted SSD with its controller brought up.
pub struct Rig {
    /// SSD.
    pub ssd: Arc<ScriptedSsd>,
    /// Controller of the SSD, brought up.
    pub controller: Arc<Controller>,
    space: Arc<DmaSpace>,
    buffers: DmaMemory,
}

impl Rig {
    /// Options for tests: small queues, ordinary pages, a short timeout.
    #[must_use]
    pub fn options() -> Options {
        Options {
            queue_entries: 16,
            command_timeout: Duration::from_millis(400),
            pages: PageSize::Base,
            bounce_pages: 64,
            ..Options::default()
        }
    }

    /// Brings an SSD up.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn new(script: Script) -> Self {
        Self::with(script, Self::options()).expect("the scripted SSD comes up")
    }

    /// Brings an SSD up with options.
    ///
    /// # Errors
    /// Errors of [`Controller::start`].
    ///
    /// # Panics
    /// If there is no memory.
    pub fn with(script: Script, options: Options) -> Result<Self, ControllerError> {
        let space = DmaSpace::new();
        let ssd = ScriptedSsd::new(script, &space);
        let controller = Controller::start(ssd.function(), space.clone(), options)?;
        let buffers = DmaMemory::allocate(&space, BUFFER_BYTES.into(), PageSize::Base, None);
        Ok(Self { ssd, controller, space, buffers: buffers.expect("buffers") })
    }

    /// Address space of the SSD.
    #[must_use]
    pub fn space(&self) -> &Arc<DmaSpace> {
        &self.space
    }

    /// Opens a channel of the first namespace.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn channel(&self) -> Box<dyn Channel> {
        self.controller.namespaces()[0].open(CoreId(0)).expect("a queue pair")
    }

    /// Piece of the buffers.
    ///
    /// # Panics
    /// If they are shorter.
    #[must_use]
    pub fn buffer(&self, offset: u64, len: u32) -> Span {
        // SAFETY: the rig outlives the spans of its test.
        unsafe { self.buffers.span(offset, len) }.expect("inside of the buffers")
    }

    /// Submits and commits one request, and returns its completion; steps the SSD meanwhile.
    ///
    /// # Panics
    /// If it is refused, or does not complete in time.
    pub fn run(&self, channel: &mut dyn Channel, operation: Operation, lba: Lba, data: &[Span]) -> Status {
        let block_bytes = self.controller.namespaces()[0].geometry().block_bytes;
        let blocks = data.iter().map(Span::len).sum::<u32>() / block_bytes;
        self.run_blocks(channel, &Request { tag: Tag::default(), operation, lba, blocks, data })
    }

    /// Submits and commits a request of any kind, and returns its completion, as [`Self::run`] does.
    ///
    /// # Panics
    /// As [`Self::run`] does.
    pub fn run_blocks(&self, channel: &mut dyn Channel, request: &Request<'_>) -> Status {
        channel.submit(request).expect("taken");
        channel.commit();
        let done = self.drain(channel);
        assert_eq!(done.len(), 1, "one request, one completion");
        assert_eq!(done[0].tag(), request.tag);
        done[0].status()
    }

    /// Steps the SSD and polls until nothing is in flight; returns all completions.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn drain(&self, channel: &mut dyn Channel) -> Vec<Completion> {
        let mut all = Vec::new();
        Self::until("nothing is in flight", || {
            self.ssd.step();
            let mut done = Completions::default();
            channel.poll(&mut done);
            all.extend_from_slice(done.as_slice());
            channel.in_flight() == 0
        });
        all
    }

    /// Polls until the channel has room again, after a reset.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn until_room(&self, channel: &mut dyn Channel) {
        Self::until("there is room", || {
            let mut done = Completions::default();
            channel.poll(&mut done);
            assert!(done.as_slice().is_empty(), "nothing was in flight");
            channel.room() > 0
        });
    }

    /// Waits for a condition, up to a time limit.
    ///
    /// # Panics
    /// If it does not come true in time.
    pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < TIMEOUT, "not in time: {what}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Number of blocks of the first namespace.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn blocks(&self) -> Blocks {
        self.controller.namespaces()[0].geometry().blocks
    }
}

//! A volume on one core: an extent of a channel or of a node, and what it has in flight there.

use crate::hold::Hold;
use crate::{Base, NodeId, Stats};
use luge_block::{Blocks, Completion, Kind, Lba, Refusal, Request, Status, Tag};
use std::sync::Arc;

/// The blocks of a volume on its base, and its part in tags.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) way: Tag,
    pub(crate) first: Lba,
    pub(crate) blocks: Blocks,
    pub(crate) read_only: bool,
}

impl Extent {
    /// The request as the base is to get it.
    #[inline]
    pub(crate) fn translate<'a>(&self, request: &Request<'a>) -> Result<Request<'a>, Status> {
        let lba = self.place(request)?;
        let tag = request.tag.through(self.way, Kind::of(request.operation));
        Ok(Request { tag, lba, ..*request })
    }

    /// The request's first block on the base. A flush has no blocks, whatever it says.
    #[inline]
    fn place(&self, request: &Request<'_>) -> Result<Lba, Status> {
        let Request { operation, lba, blocks, .. } = *request;
        if operation.is_flush() {
            return Ok(self.first);
        }
        operation.check_access(self.read_only)?;
        match lba.0.checked_add(u64::from(blocks)) {
            Some(end) if end <= self.blocks.0 => Ok(Lba(self.first.0 + lba.0)),
            _ => Err(Status::OutOfRange),
        }
    }
}

/// A volume of a core's graph.
pub(crate) struct Mounted {
    pub(crate) extent: Extent,
    pub(crate) base: Base,
    /// The node that it is a part of; none for one that sessions use.
    pub(crate) parent: Option<NodeId>,
    /// Requests that its base has.
    pub(crate) in_flight: usize,
    pub(crate) hold: Hold,
    pub(crate) stats: Arc<Stats>,
}

impl Mounted {
    /// The extent as requests see it that are not looked at one by one: empty while blocks are held.
    #[inline]
    pub(crate) fn open_extent(&self) -> Extent {
        let blocks = if self.hold.is_open() { self.extent.blocks } else { Blocks(0) };
        Extent { blocks, ..self.extent }
    }

    /// The request as the base is to get it.
    ///
    /// # Errors
    /// [`Refusal`] if it is outside of the volume, or held.
    #[inline]
    pub(crate) fn admit<'a>(&self, request: &Request<'a>) -> Result<Request<'a>, Refusal> {
        let translated = self.extent.translate(request).map_err(Refusal::Failed)?;
        if self.hold.is_open() || self.hold.takes(request) { Ok(translated) } else { Err(Refusal::Full) }
    }

    /// Counts requests that the base has taken.
    #[inline]
    pub(crate) fn begin(&mut self, requests: &[Request<'_>], now: u64) {
        self.in_flight += requests.len();
        self.stats.count_all(requests, now);
    }

    /// Counts one request that the base has taken.
    #[inline]
    pub(crate) fn begin_one(&mut self, request: &Request<'_>, now: u64) {
        self.in_flight += 1;
        self.stats.count(request, now);
    }

    /// Counts requests that have ended.
    ///
    /// # Panics
    /// If more have ended than were begun: a channel or node made some up.
    #[inline]
    pub(crate) fn end(&mut self, run: &EndedRun<'_>, now: u64) {
        let left = self.in_flight.checked_sub(run.ended.len());
        self.in_flight = left.expect("a channel completes what it was not given");
        self.stats.end(run.kinds, now);
    }

    /// Counts requests that have failed, for a part of a composite: sessions count for theirs.
    pub(crate) fn count_failures(&self, ended: &[Completion]) {
        let failed = ended.iter().filter(|end| !end.succeeded());
        failed.for_each(|end| self.stats.fail(end.status()));
    }
}

/// Completions that follow each other on one way.
pub(crate) struct EndedRun<'a> {
    pub(crate) ended: &'a [Completion],
    /// The sum of their [`Tag::one`].
    kinds: u64,
}

impl<'a> EndedRun<'a> {
    /// The longest run, so that each kind can be counted.
    const MOST: usize = 255;

    /// Splits the first run off a list that begins with `first`.
    #[inline]
    pub(crate) fn split_off(done: &mut &'a [Completion], first: Tag) -> Self {
        let mut kinds = 0;
        let most = done.get(..Self::MOST).unwrap_or(done);
        let run = most.iter().take_while(|end| end.tag().same_way(first));
        let count = run.inspect(|end| kinds += end.tag().one()).count();
        let (ended, rest) = done.split_at(count);
        *done = rest;
        Self { ended, kinds }
    }
}

//! Reads and writes of one volume that follow each other.

use super::{End, VolumeHandle};
use luge_block::{CheckedTransfer, Refusal, Request, SizeClass, Tag, TransferExtent};
use luge_memory::Span;

/// The most requests of a run.
const RUN: usize = 64;

impl<'handle> VolumeHandle<'handle> {
    /// Begins a run of reads and writes, for one call of what is beneath.
    #[inline]
    #[must_use]
    pub fn run<'data>(&mut self) -> Run<'_, 'handle, 'data> {
        Run::new(self)
    }

    /// Gives requests to the base in one call; returns how many it took, and why not the next.
    ///
    /// Always inlined: its callers are the runs of every kind of session, once each.
    #[inline(always)]
    fn submit_all(&mut self, transfers: &[CheckedTransfer<'_>]) -> (usize, Option<Refusal>) {
        let now = self.now();
        let (taken, refusal) = match &mut self.0 {
            End::Channel { opened, .. } => {
                let (taken, refusal) = opened.channel.submit_all(transfers);
                opened.pending |= taken > 0;
                (taken, refusal)
            }
            End::Node { layers, node, .. } => {
                layers.with_node(*node, |node, layers| node.submit_all(transfers, layers))
            }
        };
        self.begin(transfers.get(..taken).unwrap_or(transfers), now);
        (taken, refusal)
    }
}

/// Requests of one volume that what is beneath gets all at once.
pub struct Run<'a, 'handle, 'data> {
    place: RunPlace,
    pub(super) volume: &'a mut VolumeHandle<'handle>,
    pub(super) requests: heapless::Vec<CheckedTransfer<'data>, RUN>,
}

/// Place of the requests of a run: what they are checked against, and their way.
#[derive(Clone, Copy)]
struct RunPlace {
    way: Tag,
    extent: TransferExtent,
}

/// Adds requests to a run. Has a copy of what they are checked against, which a loop reads without a detour.
pub struct Adder<'run, 'data> {
    place: RunPlace,
    requests: &'run mut heapless::Vec<CheckedTransfer<'data>, RUN>,
}

impl<'data> Adder<'_, 'data> {
    /// Size of a block in bytes.
    #[inline]
    #[must_use]
    pub fn block_bytes(&self) -> u32 {
        self.place.extent.block_bytes()
    }

    /// Another adder to the same run, for a call that is not inlined: this one can then stay in registers.
    #[inline(always)]
    pub fn again(&mut self) -> Adder<'_, 'data> {
        Adder { place: self.place, requests: self.requests }
    }

    /// Adds a read or write whose blocks count from the start of the volume; none where it is
    /// neither, or outside of the volume, or to be cut, or may be fenced, or one too many:
    /// [`VolumeHandle::submit`] takes it then, or tells which.
    ///
    /// Always inlined: its callers loop over batches.
    #[inline(always)]
    pub fn add(&mut self, request: &Request<'data>) -> Option<()> {
        let RunPlace { way, extent } = &self.place;
        let tag = request.tag.through_as_transfer(*way, request.operation);
        let tag = tag.sized(SizeClass::of(request.blocks));
        self.requests.push(extent.check(request, tag)?).ok()
    }
}

impl<'a, 'handle, 'data> Run<'a, 'handle, 'data> {
    #[inline]
    pub(super) fn new(volume: &'a mut VolumeHandle<'handle>) -> Self {
        let mounted = volume.volume();
        let place = RunPlace { way: mounted.extent.way, extent: mounted.open_transfers() };
        Self { place, volume, requests: heapless::Vec::new() }
    }

    /// Number of requests that were added.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether none was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Size of a block in bytes.
    #[inline]
    #[must_use]
    pub fn block_bytes(&self) -> u32 {
        self.place.extent.block_bytes()
    }

    /// Adds requests from now on.
    #[inline]
    pub fn adder(&mut self) -> Adder<'_, 'data> {
        Adder { place: self.place, requests: &mut self.requests }
    }

    /// Adds one request, as [`Adder::add`].
    #[inline(always)]
    pub fn add(&mut self, request: &Request<'data>) -> Option<()> {
        self.adder().add(request)
    }

    /// Tags and data of the requests.
    pub fn transfers(&self) -> impl Iterator<Item = (Tag, &'data [Span])> {
        self.requests.iter().map(|request| (request.tag, request.data))
    }

    /// Submits them, and tells `refused` of each that was not taken, in order. Leaves none.
    #[inline(always)]
    pub fn submit(&mut self, mut refused: impl FnMut(Tag, Refusal)) {
        let mut left = self.requests.as_slice();
        while !left.is_empty() {
            let (taken, refusal) = self.volume.submit_all(left);
            let rest = left.get(taken..).unwrap_or_default();
            let (Some(refusal @ Refusal::Failed(_)), Some((request, rest))) = (refusal, rest.split_first())
            else {
                rest.iter().for_each(|request| refused(request.tag, Refusal::Full));
                break;
            };
            refused(request.tag, refusal);
            left = rest;
        }
        self.requests.clear();
    }
}

//! The channels of one core, and the volumes on top of them.

use crate::clock::Clock;
use crate::{Ended, Stats, Volume};
use luge_block::{Blocks, Channel, Completions, CoreId, Lba, Refusal, Request, Status, Tag};
use std::sync::Arc;

/// A channel of a core's graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct ChannelId(u16);

/// A volume of a core's graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct VolumeId(u16);

/// A linear volume: an offset, a length, a channel.
struct Linear {
    channel: ChannelId,
    first: Lba,
    blocks: Blocks,
    read_only: bool,
    stats: Arc<Stats>,
}

struct Opened {
    channel: Box<dyn Channel>,
    /// Something was submitted since the last commit.
    pending: bool,
}

/// The most requests of a run.
const RUN: usize = 64;

/// The channels of one core, and the volumes on top of them, named by index.
#[derive(Default)]
pub struct Graph {
    channels: Vec<Option<Opened>>,
    volumes: Vec<Option<Linear>>,
    /// The channel whose turn to be polled first it is.
    polled_first: usize,
    clock: Clock,
}

impl Graph {
    /// Adds a channel.
    ///
    /// # Errors
    /// The channel itself if there are 65536 already.
    pub fn add_channel(&mut self, channel: Box<dyn Channel>) -> Result<ChannelId, Box<dyn Channel>> {
        match place(&mut self.channels) {
            Some((id, room)) => {
                *room = Some(Opened { channel, pending: false });
                Ok(ChannelId(id))
            }
            None => Err(channel),
        }
    }

    /// Takes a channel out, whose volumes are gone and whose requests have completed.
    ///
    /// # Panics
    /// If that is not so: the channel's number may be another's next, and what still used it
    /// would read and write another device.
    pub fn remove_channel(&mut self, id: ChannelId) -> Option<Box<dyn Channel>> {
        let used = self.volumes.iter().flatten().any(|volume| volume.channel == id);
        let opened = self.channels.get_mut(usize::from(id.0))?.take()?;
        let in_flight = opened.channel.in_flight();
        assert!(!used && in_flight == 0, "{id:?} goes, with {in_flight} requests in flight; volumes: {used}");
        Some(opened.channel)
    }

    /// Puts a volume on a channel of its device; `None` if there are 65536 already.
    pub fn add_volume(&mut self, core: CoreId, volume: &Volume, channel: ChannelId) -> Option<VolumeId> {
        let geometry = volume.geometry();
        let (id, room) = place(&mut self.volumes)?;
        *room = Some(Linear {
            channel,
            first: volume.first(),
            blocks: geometry.blocks,
            read_only: geometry.read_only,
            stats: volume.stats(core),
        });
        Some(VolumeId(id))
    }

    /// Takes a volume out.
    pub fn remove_volume(&mut self, id: VolumeId) {
        if let Some(room) = self.volumes.get_mut(usize::from(id.0)) {
            *room = None;
        }
    }

    /// The way to a volume, looked up once for a batch of requests; none to one that is gone.
    #[inline]
    pub fn lane(&mut self, id: VolumeId) -> Option<Lane<'_>> {
        let volume = self.volumes.get(usize::from(id.0))?.as_ref()?;
        let opened = self.channels.get_mut(usize::from(volume.channel.0))?.as_mut()?;
        Some(Lane { volume, opened, clock: &self.clock })
    }

    /// Requests of a volume have ended, and the guest knows.
    #[inline]
    pub fn ended(&self, id: VolumeId, ended: &Ended) {
        if let Some(Some(volume)) = self.volumes.get(usize::from(id.0)) {
            volume.stats.end(ended, self.clock.now());
        }
    }

    /// Starts all that was submitted, with one doorbell per channel.
    #[inline]
    pub fn commit(&mut self) {
        self.clock.pass();
        for opened in self.channels.iter_mut().flatten().filter(|opened| opened.pending) {
            opened.pending = false;
            opened.channel.commit();
        }
    }

    /// Collects completions from every channel. Where `done` has no room for all of them, the
    /// channel after the last one polled is first the next time, so that none waits for ever.
    #[inline]
    pub fn poll(&mut self, done: &mut Completions) {
        let count = self.channels.len();
        for index in (self.polled_first..count).chain(0..self.polled_first) {
            if let Some(Some(opened)) = self.channels.get_mut(index) {
                opened.channel.poll(done);
            }
            if done.room() == 0 {
                self.polled_first = if index + 1 == count { 0 } else { index + 1 };
                return;
            }
        }
    }

    /// Requests taken and not yet completed, over all channels.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.channels.iter().flatten().map(|opened| opened.channel.in_flight()).sum()
    }
}

/// The way to a volume.
pub struct Lane<'a> {
    volume: &'a Linear,
    opened: &'a mut Opened,
    clock: &'a Clock,
}

impl Lane<'_> {
    /// How many requests the volume would take now.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        self.opened.channel.room()
    }

    /// Begins a run of reads and writes, for one call of the channel.
    #[inline]
    #[must_use]
    pub fn run<'data>(&mut self) -> Run<'_, 'data> {
        let Self { volume, opened, clock } = self;
        Run { volume, opened, clock, requests: heapless::Vec::new() }
    }

    /// Submits a request whose blocks count from the start of the volume.
    ///
    /// # Errors
    /// [`Refusal`], also where the request is outside of the volume.
    #[inline]
    pub fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        let lba = self.volume.translate(request).map_err(Refusal::Failed)?;
        // Some devices do it at once: it begins before.
        let now = self.clock.now();
        self.opened.channel.submit(&Request { lba, ..*request })?;
        self.opened.pending = true;
        self.volume.stats.count(request, now);
        Ok(())
    }
}

/// Requests of one volume that its channel gets all at once.
pub struct Run<'a, 'data> {
    volume: &'a Linear,
    opened: &'a mut Opened,
    clock: &'a Clock,
    requests: heapless::Vec<Request<'data>, RUN>,
}

impl<'data> Run<'_, 'data> {
    /// Adds a read or write whose blocks count from the start of the volume; none where it is
    /// neither, or outside of the volume, or one too many: [`Lane::submit`] tells which.
    #[inline]
    pub fn add(&mut self, request: &Request<'data>) -> Option<()> {
        let lba = self.volume.translate(request).ok().filter(|_| request.operation.moves_data())?;
        self.requests.push(Request { lba, ..*request }).ok()
    }

    /// Submits them, and tells `refused` of each that was not taken, in order. Leaves none.
    #[inline]
    pub fn submit(&mut self, mut refused: impl FnMut(Tag, Refusal)) {
        let mut left = self.requests.as_slice();
        let now = self.clock.now();
        while !left.is_empty() {
            let (taken, refusal) = self.opened.channel.submit_all(left);
            let (begun, rest) = left.split_at(taken.min(left.len()));
            self.opened.pending |= taken > 0;
            self.volume.stats.count_all(begun, now);
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

impl Linear {
    /// The request's first block on the device. A flush has no blocks, whatever it says.
    #[inline]
    fn translate(&self, request: &Request<'_>) -> Result<Lba, Status> {
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

/// The first free place of a list, which grows by one where there is none.
fn place<T>(list: &mut Vec<Option<T>>) -> Option<(u16, &mut Option<T>)> {
    let index = list.iter().position(Option::is_none).unwrap_or(list.len());
    let id = u16::try_from(index).ok()?;
    if index == list.len() {
        list.push(None);
    }
    list.get_mut(index).map(|room| (id, room))
}

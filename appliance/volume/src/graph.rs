//! The channels of one core, and the volumes on top of them.

use crate::Stats;
use crate::Volume;
use crate::clock::Clock;
use luge_block::{
    Blocks, Channel, Completion, Completions, CoreId, Kind, Lba, Refusal, Request, Status, Tag,
};
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
    /// Requests that its channel has.
    in_flight: usize,
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
    /// The completions of this turn.
    done: Completions,
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
            in_flight: 0,
            stats: volume.stats(core),
        });
        Some(VolumeId(id))
    }

    /// Takes a volume out, whose requests have completed.
    ///
    /// # Panics
    /// If that is not so: the volume's number may be another's next, which would be told of
    /// requests that are not its own.
    pub fn remove_volume(&mut self, id: VolumeId) {
        let volume = self.volumes.get_mut(usize::from(id.0)).and_then(Option::take);
        let in_flight = volume.map_or(0, |volume| volume.in_flight);
        assert!(in_flight == 0, "{id:?} goes, with {in_flight} requests in flight");
    }

    /// The way to a volume, looked up once for a batch of requests; none to one that is gone.
    #[inline]
    pub fn lane(&mut self, id: VolumeId) -> Option<Lane<'_>> {
        let volume = self.volumes.get_mut(usize::from(id.0))?.as_mut()?;
        let opened = self.channels.get_mut(usize::from(volume.channel.0))?.as_mut()?;
        Some(Lane { way: Tag::of_volume(id.0), volume, opened, clock: &self.clock })
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

    /// Collects completions from the channels, passes each through the volume that its request came
    /// down through, and hands them to `up`: those at once that follow each other on one way.
    /// Returns how many.
    #[inline]
    pub fn poll(&mut self, mut up: impl FnMut(&[Completion])) -> usize {
        self.collect();
        let Self { volumes, done, clock, .. } = self;
        let mut rest = done.as_slice();
        while let Some(first) = rest.first() {
            let tag = first.tag();
            let (run, id) = (EndedRun::split_off(&mut rest, tag), tag.volume());
            let volume = volumes.get_mut(usize::from(id)).and_then(Option::as_mut);
            let Some(volume) = volume else { panic!("a request of volume {id} ends, which is not there") };
            volume.end(&run, clock.now());
            up(run.ended);
        }
        done.as_slice().len()
    }

    /// Polls every channel. Where there is no room for all completions, the channel after the last
    /// one polled is first the next time, so that none waits for ever.
    #[inline]
    fn collect(&mut self) {
        self.done.clear();
        let count = self.channels.len();
        for index in (self.polled_first..count).chain(0..self.polled_first) {
            if let Some(Some(opened)) = self.channels.get_mut(index) {
                opened.channel.poll(&mut self.done);
            }
            if self.done.room() == 0 {
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
    /// The part that the volume has in tags.
    way: Tag,
    volume: &'a mut Linear,
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
        let Self { way, volume, opened, clock } = self;
        Run { way: *way, volume, opened, clock, requests: heapless::Vec::new() }
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
        let tag = request.tag.through(self.way, Kind::of(request.operation));
        self.opened.channel.submit(&Request { tag, lba, ..*request })?;
        self.opened.pending = true;
        self.volume.in_flight += 1;
        self.volume.stats.count(request, now);
        Ok(())
    }
}

/// Requests of one volume that its channel gets all at once.
pub struct Run<'a, 'data> {
    way: Tag,
    volume: &'a mut Linear,
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
        let tag = request.tag.through(self.way, Kind::of(request.operation));
        self.requests.push(Request { tag, lba, ..*request }).ok()
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
            self.volume.in_flight += taken;
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
    /// Counts requests that have ended now.
    ///
    /// # Panics
    /// If more have ended than were begun: a channel made some up.
    #[inline]
    fn end(&mut self, run: &EndedRun<'_>, now: u64) {
        let left = self.in_flight.checked_sub(run.ended.len());
        self.in_flight = left.expect("a channel completes what it was not given");
        self.stats.end(run.kinds, now);
    }

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

/// Completions that follow each other on one way.
struct EndedRun<'a> {
    ended: &'a [Completion],
    /// The sum of their [`Tag::one`].
    kinds: u64,
}

impl<'a> EndedRun<'a> {
    /// The longest run, so that each kind can be counted.
    const MOST: usize = 255;

    /// Splits the first run off a list that begins with `first`.
    #[inline]
    fn split_off(done: &mut &'a [Completion], first: Tag) -> Self {
        let mut kinds = 0;
        let most = done.get(..Self::MOST).unwrap_or(done);
        let run = most.iter().take_while(|end| end.tag().same_way(first));
        let count = run.inspect(|end| kinds += end.tag().one()).count();
        let (ended, rest) = done.split_at(count);
        *done = rest;
        Self { ended, kinds }
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

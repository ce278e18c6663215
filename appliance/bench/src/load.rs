//! The loop: reaps what came back, submits as much again, on all queues in turn.

use crate::clock::{Clock, ticks};
use crate::frontend::Disk;
use crate::options::{Direction, Options};
use crate::pattern::Pattern;
use crate::ring::{BATCH, Done, Ring};
use crate::target::Server;
use crate::{BenchError, Verify};
use hdrhistogram::Histogram;
use std::time::Duration;

/// How long the server's busiest thread is looked for.
const WARM_UP: Duration = Duration::from_millis(200);
/// How long unanswered requests are waited for after the end.
const GRACE: Duration = Duration::from_secs(10);

/// What was measured.
pub(crate) struct Measured {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) elapsed: Duration,
    /// Share of the time in which the generator had something to do.
    pub(crate) busy: f64,
    pub(crate) latency_ns: Histogram<u64>,
    pub(crate) kicks: u64,
    pub(crate) calls: u64,
    pub(crate) server: Option<Duration>,
}

/// Where requests go next.
struct Choice {
    direction: Direction,
    unit_sectors: u64,
    units: u64,
    next: u64,
    random: u64,
}

impl Choice {
    fn new(options: &Options, sectors: u64) -> Self {
        let unit_sectors = u64::from(options.bs / 512);
        let random = options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { direction: options.rw, unit_sectors, units: sectors / unit_sectors, next: 0, random }
    }

    /// A number that looks random (xorshift64*).
    fn draw(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// One of `count` numbers, at random or the next one.
    #[inline]
    fn pick(&mut self, count: u64) -> u64 {
        if self.direction.is_random() {
            let (draw, count) = (u128::from(self.draw()), u128::from(count));
            return u64::try_from((draw * count) >> 64).unwrap_or(0);
        }
        let at = self.next;
        self.next = if at + 1 < count { at + 1 } else { 0 };
        at % count
    }

    fn writes(&mut self) -> bool {
        match self.direction {
            Direction::Read | Direction::RandRead => false,
            Direction::Write | Direction::RandWrite => true,
            Direction::RandRw => self.draw() & 1 == 1,
        }
    }
}

/// Data checks: each slot keeps to units of its own, so that no two requests race for one.
struct Checks {
    pattern: Pattern,
    slots: u64,
    /// The unit each slot is at, and whether it is being written.
    at: Vec<(usize, bool)>,
}

struct Load<'a> {
    choice: Choice,
    checks: Option<Checks>,
    clock: Clock,
    /// Ticks at which the next request may go, and ticks between two of them.
    pace: Option<(u64, u64)>,
    latency_ns: Histogram<u64>,
    reads: u64,
    writes: u64,
    failed: u64,
    bad_status: Option<u8>,
    free: Vec<Vec<u16>>,
    options: &'a Options,
}

/// Runs for a moment, to find the CPU of the server's busiest thread.
pub(crate) fn warm_up(
    disk: &mut Disk,
    options: &Options,
    server: &Server,
) -> Result<Option<u16>, BenchError> {
    let before = server.usage();
    let brief = Options { runtime: WARM_UP.as_secs_f64(), rate: None, verify: None, ..options.clone() };
    run(disk, &brief, (server, &mut |_| ()))?;
    Ok(server.busiest_cpu(&before, &server.usage()))
}

pub(crate) fn run(
    disk: &mut Disk,
    options: &Options,
    (server, progress): (&Server, &mut dyn FnMut(&str)),
) -> Result<Measured, BenchError> {
    let mut load = Load::new(options, disk)?;
    let (kicks, _) = events(disk);
    let usage = server.usage();
    let start = ticks();
    let end = start.wrapping_add(load.clock.ticks(Duration::from_secs_f64(options.runtime)));
    let (busy, last) = load.turn_until(disk, (start, end), progress)?;
    let server = server.usage().since(&usage);
    load.drain(disk)?;
    let (kicks_now, calls) = events(disk);
    let total = load.reads + load.writes;
    if let Some(status) = load.bad_status {
        return Err(BenchError::Failed { failed: load.failed, total, status });
    }
    let elapsed = last.wrapping_sub(start).max(1);
    Ok(Measured {
        reads: load.reads,
        writes: load.writes,
        elapsed: Duration::from_nanos(load.clock.ns(elapsed)),
        busy: busy as f64 / elapsed as f64,
        latency_ns: load.latency_ns,
        kicks: kicks_now - kicks,
        calls,
        server,
    })
}

/// Kicks and calls so far. Calls are counted from the last look.
fn events(disk: &Disk) -> (u64, u64) {
    let sum = |count: fn(&Ring) -> u64| disk.queues.iter().map(count).sum();
    (sum(Ring::kicks), sum(Ring::calls))
}

impl<'a> Load<'a> {
    fn new(options: &'a Options, disk: &Disk) -> Result<Self, BenchError> {
        let choice = Choice::new(options, disk.sectors);
        let clock = Clock::calibrate();
        let slots = u64::from(options.queues) * u64::from(options.iodepth);
        let checks = match options.verify {
            None => None,
            Some(Verify::Crc32c) if choice.units < slots => {
                return Err(BenchError::Options(format!(
                    "--verify needs a disk of at least --queues times --iodepth requests ({slots}), this has {}",
                    choice.units
                )));
            }
            Some(Verify::Crc32c) => {
                let units = usize::try_from(choice.units).unwrap_or(usize::MAX);
                let at = vec![(0, false); usize::try_from(slots).unwrap_or(usize::MAX)];
                Some(Checks { pattern: Pattern::new(units, options.bs), slots, at })
            }
        };
        let gap = |rate: u64| clock.ticks(Duration::from_secs_f64(1.0 / rate as f64)).max(1);
        let free = disk.queues.iter().map(|ring| (0..ring.depth()).rev().collect()).collect();
        let latency_ns = Histogram::new_with_bounds(1, 60_000_000_000, 3)
            .map_err(|e| BenchError::Options(e.to_string()))?;
        let pace = options.rate.map(|rate| (ticks(), gap(rate)));
        let (reads, writes, failed, bad_status) = (0, 0, 0, None);
        Ok(Self { choice, checks, clock, pace, latency_ns, reads, writes, failed, bad_status, free, options })
    }

    /// Returns the ticks spent busy, and when the last request was counted.
    fn turn_until(
        &mut self,
        disk: &mut Disk,
        (start, end): (u64, u64),
        progress: &mut dyn FnMut(&str),
    ) -> Result<(u64, u64), BenchError> {
        let second = self.clock.ticks(Duration::from_secs(1));
        let (mut now, mut busy, mut line_at, mut line_ios) = (start, 0, start.wrapping_add(second), 0);
        let mut done = [Done::default(); BATCH];
        while now < end {
            let before = self.reads + self.writes;
            for (index, ring) in disk.queues.iter_mut().enumerate() {
                self.turn(ring, &mut done, (index, now))?;
            }
            let after = ticks();
            if self.reads + self.writes != before {
                busy += after.wrapping_sub(now);
            }
            now = after;
            if now >= line_at {
                let ios = self.reads + self.writes;
                progress(&self.line(ios - line_ios));
                (line_at, line_ios) = (line_at.wrapping_add(second), ios);
            }
        }
        Ok((busy, now))
    }

    /// One look at one queue.
    #[inline]
    fn turn(
        &mut self,
        ring: &mut Ring,
        done: &mut [Done; BATCH],
        (index, now): (usize, u64),
    ) -> Result<(), BenchError> {
        self.reap(ring, done, (index, now))?;
        while let Some(&slot) = self.free[index].last() {
            if !self.may_submit(now) {
                break;
            }
            self.free[index].pop();
            let (unit, writes) = self.next(ring, (index, slot))?;
            ring.submit(slot, (writes, unit * self.choice.unit_sectors), now);
        }
        ring.publish();
        Ok(())
    }

    fn reap(
        &mut self,
        ring: &mut Ring,
        done: &mut [Done; BATCH],
        (index, now): (usize, u64),
    ) -> Result<usize, BenchError> {
        let count = ring.reap(done).map_err(|id| BenchError::Server {
            path: self.options.socket.display().to_string(),
            reason: format!("used descriptor {id}, which was not in use"),
        })?;
        let done = &done[..count];
        for same in done.chunk_by(|a, b| a.submitted == b.submitted) {
            let ns = self.clock.ns(now.wrapping_sub(same[0].submitted));
            self.latency_ns.saturating_record_n(ns.max(1), same.len() as u64);
        }
        for one in done {
            if one.status != 0 {
                self.failed += 1;
                self.bad_status.get_or_insert(one.status);
            }
            self.check(ring, (index, one.slot))?;
            self.free[index].push(one.slot);
        }
        Ok(count)
    }

    #[inline]
    fn may_submit(&mut self, now: u64) -> bool {
        match &mut self.pace {
            None => true,
            Some((next, gap)) if *next <= now => {
                // What was missed is made up for, but not more than a moment's worth.
                *next = (*next + *gap).max(now.saturating_sub(*gap * 64));
                true
            }
            Some(_) => false,
        }
    }

    /// Where a slot's next request goes, and whether it writes.
    #[inline]
    fn next(&mut self, ring: &Ring, (index, slot): (usize, u16)) -> Result<(u64, bool), BenchError> {
        let writes = self.choice.writes();
        if writes {
            self.writes += 1
        } else {
            self.reads += 1
        }
        let Some(checks) = &mut self.checks else { return Ok((self.choice.pick(self.choice.units), writes)) };
        let own = index as u64 * u64::from(ring.depth()) + u64::from(slot);
        let rounds = (self.choice.units - own - 1) / checks.slots + 1;
        let unit = own + self.choice.pick(rounds) * checks.slots;
        let at = usize::try_from(unit).unwrap_or(usize::MAX);
        checks.at[usize::try_from(own).unwrap_or(usize::MAX)] = (at, writes);
        if writes {
            checks.pattern.fill(at, ring.data(slot));
        }
        Ok((unit, writes))
    }

    #[inline]
    fn check(&mut self, ring: &Ring, (index, slot): (usize, u16)) -> Result<(), BenchError> {
        let Some(checks) = &mut self.checks else { return Ok(()) };
        let (unit, written) = checks.at[index * usize::from(ring.depth()) + usize::from(slot)];
        if written {
            return Ok(());
        }
        let lba = unit as u64 * self.choice.unit_sectors;
        checks.pattern.check(unit, ring.data(slot)).map_err(|what| BenchError::Corrupt { lba, what })
    }

    /// Waits for what is still in flight.
    fn drain(&mut self, disk: &mut Disk) -> Result<(), BenchError> {
        let end = ticks().wrapping_add(self.clock.ticks(GRACE));
        loop {
            let left: usize = disk.queues.iter().map(Ring::in_flight).sum();
            match left {
                0 => return Ok(()),
                _ if ticks() > end => return Err(BenchError::Stuck(left)),
                _ => {
                    for (index, ring) in disk.queues.iter_mut().enumerate() {
                        self.reap(ring, &mut [Done::default(); BATCH], (index, ticks()))?;
                    }
                }
            }
        }
    }

    fn line(&self, ios: u64) -> String {
        let mib = ios as f64 * f64::from(self.options.bs) / f64::from(1 << 20);
        format!(
            "{:>10.0} IOPS  {mib:>9.1} MiB/s  p50 {:>8} ns",
            ios as f64,
            self.latency_ns.value_at_quantile(0.5)
        )
    }
}

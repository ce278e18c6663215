//! The loop: reaps answers and submits as many requests again, on all queues in turn.

use crate::checks::Checks;
use crate::choice::Choice;
use crate::clock::{self, Clock, ticks};
use crate::error::BenchError;
use crate::frontend::Disk;
use crate::options::{Direction, Options};
use crate::pace::Pace;
use crate::ring::{BATCH, Done, Ring, Transfer};
use crate::target::Server;
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Time for which the server's busiest thread is looked for.
const WARM_UP: Duration = Duration::from_millis(200);
/// Time for which unanswered requests are waited for after the end.
const GRACE: Duration = Duration::from_secs(10);
/// Time between two looks at whether to go on.
const LOOK: Duration = Duration::from_millis(10);
/// Longest latency that is told from longer ones.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

/// Measurements of a run.
pub(crate) struct Measured {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    /// Time from the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Share of the time in which the generator had something to do.
    pub(crate) busy: f64,
    /// CPU time of the generator while it had something to do: without the time of others on its CPU.
    pub(crate) worked: Duration,
    pub(crate) latency_ns: Histogram<u64>,
    pub(crate) kicks: u64,
    pub(crate) calls: u64,
    pub(crate) server: Option<Duration>,
    /// Reads whose data was checked, where any is.
    pub(crate) verified: Option<u64>,
    /// Times that the server has gone and come back.
    pub(crate) reconnects: u64,
}

/// Surroundings of the run: the server, the signal to stop, the progress.
pub(crate) struct Surroundings<'a> {
    pub(crate) server: &'a Server,
    /// Ends it early.
    pub(crate) stop: &'a AtomicBool,
    /// Called with a line about every second.
    pub(crate) progress: &'a mut dyn FnMut(&str),
}

/// A request that did not end well.
struct Failure {
    writes: bool,
    sector: u64,
    status: u8,
}

/// State of the loop between two turns.
struct Batch {
    done: [Done; BATCH],
    /// The queue that is looked at first.
    first: usize,
}

/// First tick of a run, and the one after its last.
#[derive(Clone, Copy)]
struct Ticks {
    start: u64,
    end: u64,
}

struct Load<'a> {
    choice: Choice,
    checks: Option<Checks>,
    clock: Clock,
    pace: Option<Pace>,
    latency_ns: Histogram<u64>,
    /// Requests that were answered.
    ios: u64,
    /// Of these, writes.
    writes: u64,
    failed: u64,
    first_failure: Option<Failure>,
    free: Vec<Vec<u16>>,
    options: &'a Options,
}

/// Reads for a moment, to find the CPU of the server's busiest thread.
pub(crate) fn warm_up(
    disk: &mut Disk<'_>,
    options: &Options,
    surroundings: &mut Surroundings<'_>,
) -> Result<Option<u16>, BenchError> {
    let server = surroundings.server;
    let before = server.usage();
    let rw = if options.rw.is_random() { Direction::RandRead } else { Direction::Read };
    let brief = Options { runtime: WARM_UP.as_secs_f64(), rw, verify: None, ..options.clone() };
    run(disk, &brief, surroundings)?;
    Ok(server.busiest_cpu(&before, &server.usage()))
}

pub(crate) fn run(
    disk: &mut Disk<'_>,
    options: &Options,
    surroundings: &mut Surroundings<'_>,
) -> Result<Measured, BenchError> {
    let mut load = Load::new(options, disk)?;
    let (kicks, _) = events(disk);
    let (usage, own) = (surroundings.server.usage(), clock::of_this_thread());
    let start = ticks();
    let end = start.wrapping_add(load.clock.ticks(Duration::from_secs_f64(options.runtime)));
    let (busy, asleep) = load.turn_until(disk, Ticks { start, end }, surroundings)?;
    load.drain(disk)?;
    let elapsed = ticks().wrapping_sub(start).max(1);
    let own = clock::of_this_thread().saturating_sub(own);
    let server = surroundings.server.usage().since(&usage);
    let (kicks_now, calls) = events(disk);
    load.read_back(disk, surroundings)?;
    Ok(Measured {
        reads: load.ios - load.writes,
        writes: load.writes,
        elapsed: Duration::from_nanos(load.clock.ns(elapsed)),
        busy: busy as f64 / elapsed as f64,
        worked: own.mul_f64(busy as f64 / elapsed.saturating_sub(asleep).max(1) as f64),
        latency_ns: load.latency_ns,
        kicks: kicks_now - kicks,
        calls,
        server,
        verified: load.checks.map(|checks| checks.verified()),
        reconnects: disk.reconnects,
    })
}

/// Kicks and calls so far. Calls are counted from the last look.
fn events(disk: &Disk<'_>) -> (u64, u64) {
    let sum = |count: fn(&Ring) -> u64| disk.queues.iter().map(count).sum();
    (sum(Ring::kicks), sum(Ring::calls))
}

impl<'a> Load<'a> {
    fn new(options: &'a Options, disk: &Disk<'_>) -> Result<Self, BenchError> {
        let choice = Choice::new(options, disk.sectors);
        let clock = Clock::calibrate();
        let checks = options.verify.map(|_| Checks::new(options, &choice)).transpose()?;
        let latency_ns = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3)
            .map_err(|e| BenchError::Options(e.to_string()))?;
        Ok(Self {
            choice,
            checks,
            clock,
            pace: options.rate.map(|rate| Pace::new(rate, clock)),
            latency_ns,
            ios: 0,
            writes: 0,
            failed: 0,
            first_failure: None,
            free: disk.queues.iter().map(|ring| (0..ring.depth()).rev().collect()).collect(),
            options,
        })
    }

    /// Makes turns until `end`. Returns the ticks spent busy, and those asleep.
    fn turn_until(
        &mut self,
        disk: &mut Disk<'_>,
        span: Ticks,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(u64, u64), BenchError> {
        let Ticks { start, end } = span;
        let [second, look] = [Duration::from_secs(1), LOOK].map(|time| self.clock.ticks(time));
        let (mut now, mut busy, mut asleep) = (start, 0, 0);
        let mut batch = Batch { done: [Done::default(); BATCH], first: 0 };
        let (mut line_at, mut line_ios, mut look_at) = (start.wrapping_add(second), 0, start);
        while now < end {
            let worked = self.turn_all(disk, &mut batch, now)?;
            let after = ticks();
            if worked {
                busy += after.wrapping_sub(now);
            } else if self.sleep(disk, after) {
                asleep += ticks().wrapping_sub(after);
            }
            now = after;
            if now >= look_at {
                look_at = now.wrapping_add(look);
                disk.check_connection()?;
                if self.failed > 0 || surroundings.stop.load(Relaxed) {
                    break;
                }
            }
            if now >= line_at {
                (surroundings.progress)(&self.line(self.ios - line_ios));
                (line_at, line_ios) = (line_at.wrapping_add(second), self.ios);
            }
        }
        Ok((busy, asleep))
    }

    /// Looks at every queue; returns whether anything was to be done. Where requests are few, each queue is in
    /// turn the first to get one.
    #[inline]
    fn turn_all(&mut self, disk: &mut Disk<'_>, batch: &mut Batch, now: u64) -> Result<bool, BenchError> {
        let (count, mut worked) = (disk.queues.len(), false);
        for index in (batch.first..count).chain(0..batch.first) {
            worked |= self.turn(&mut disk.queues[index], batch, index, now)?;
        }
        if worked {
            batch.first = if batch.first + 1 < count { batch.first + 1 } else { 0 };
        }
        Ok(worked)
    }

    /// Looks at one queue; returns whether anything was to be done.
    #[inline]
    fn turn(
        &mut self,
        ring: &mut Ring,
        batch: &mut Batch,
        index: usize,
        now: u64,
    ) -> Result<bool, BenchError> {
        let seen = self.reap(ring, batch, index)?;
        let (reaped, now) = (seen.is_some(), seen.unwrap_or(now));
        while let Some(&slot) = self.free[index].last() {
            let Some(due) = self.due(now) else { break };
            self.free[index].pop();
            let transfer = self.next(ring, index, slot);
            ring.submit(slot, transfer, due);
        }
        Ok(ring.publish() || reaped)
    }

    /// Takes answers; returns the tick at which they were seen, or none if there are none.
    #[inline]
    fn reap(&mut self, ring: &mut Ring, batch: &mut Batch, index: usize) -> Result<Option<u64>, BenchError> {
        let count = ring.reap(&mut batch.done).map_err(|id| BenchError::Server {
            path: self.options.socket.display().to_string(),
            reason: format!("used descriptor {id}, which was not in use"),
        })?;
        if count == 0 {
            return Ok(None);
        }
        // After the answers were seen: a generator that was held up in between would not show it.
        let now = ticks();
        let done = &batch.done[..count];
        for same in done.chunk_by(|a, b| a.submitted == b.submitted) {
            let ns = self.clock.ns(now.wrapping_sub(same[0].submitted));
            self.latency_ns.saturating_record_n(ns.max(1), same.len() as u64);
        }
        let failed = done.iter().fold(0, |all, one| all | one.status);
        if failed != 0 || self.checks.is_some() {
            done.iter().try_for_each(|one| self.end(ring, index, one))?;
        }
        self.ios += count as u64;
        self.writes += done.iter().map(|one| u64::from(one.writes)).sum::<u64>();
        self.free[index].extend(done.iter().map(|one| one.slot));
        Ok(Some(now))
    }

    /// Takes the tick at which the next request is due, if it is.
    #[inline]
    fn due(&mut self, now: u64) -> Option<u64> {
        self.pace.as_mut().map_or(Some(now), |pace| pace.take(now))
    }

    /// Sleeps, after a turn without work, if nothing will be due for some time. Returns whether it did.
    fn sleep(&self, disk: &Disk<'_>, now: u64) -> bool {
        self.pace.as_ref().is_some_and(|pace| disk.in_flight() == 0 && pace.sleep(now, LOOK))
    }

    /// Chooses a slot's next request.
    #[inline]
    fn next(&mut self, ring: &Ring, index: usize, slot: u16) -> Transfer {
        let writes = self.choice.writes();
        let written = writes.then(|| ring.data(slot));
        let unit = match &mut self.checks {
            Some(checks) => checks.next(own(ring, index, slot), &mut self.choice, written),
            None => self.choice.unit(),
        };
        Transfer { writes, sector: unit * self.choice.unit_sectors }
    }

    /// Checks the status of a request and the data that it read.
    fn end(&mut self, ring: &Ring, index: usize, done: &Done) -> Result<(), BenchError> {
        if done.status != 0 {
            self.failed += 1;
            let (writes, sector, status) = (done.writes, ring.sector(done.slot), done.status);
            self.first_failure.get_or_insert(Failure { writes, sector, status });
            return Ok(());
        }
        let Some(checks) = &mut self.checks else { return Ok(()) };
        let sectors = self.choice.unit_sectors;
        checks
            .check(own(ring, index, done.slot), ring.data(done.slot))
            .map_err(|(unit, what)| BenchError::Corrupt { unit, byte: unit * sectors * 512, what })
    }

    /// Waits for requests in flight.
    fn drain(&mut self, disk: &mut Disk<'_>) -> Result<(), BenchError> {
        let (mut now, mut look_at) = (ticks(), 0);
        let mut batch = Batch { done: [Done::default(); BATCH], first: 0 };
        let mut end = now.wrapping_add(self.clock.ticks(GRACE));
        while disk.in_flight() > 0 {
            for (index, ring) in disk.queues.iter_mut().enumerate() {
                self.reap(ring, &mut batch, index)?;
            }
            now = ticks();
            if now >= look_at {
                look_at = now.wrapping_add(self.clock.ticks(LOOK));
                if disk.check_connection()? {
                    end = ticks().wrapping_add(self.clock.ticks(GRACE));
                }
            }
            if now > end {
                return Err(BenchError::Stuck(disk.in_flight()));
            }
        }
        self.first_failure.as_ref().map_or(Ok(()), |first| {
            let &Failure { writes, sector, status } = first;
            let verb = if writes { "write" } else { "read" };
            Err(BenchError::Failed { failed: self.failed, total: self.ios, verb, sector, status })
        })
    }

    /// Reads back and checks all that was written, where data is checked; not measured.
    fn read_back(&mut self, disk: &mut Disk<'_>, surroundings: &Surroundings<'_>) -> Result<(), BenchError> {
        let Some(checks) = &mut self.checks else { return Ok(()) };
        checks.rewind();
        let measured = (self.latency_ns.clone(), self.ios, self.writes);
        let mut left = true;
        while left && !surroundings.stop.load(Relaxed) {
            left = false;
            for (index, ring) in disk.queues.iter_mut().enumerate() {
                left |= self.submit_reads(ring, index);
            }
            self.drain(disk)?;
        }
        (self.latency_ns, self.ios, self.writes) = measured;
        Ok(())
    }

    /// Reads something that was written with each slot that has any left; returns whether one has.
    fn submit_reads(&mut self, ring: &mut Ring, index: usize) -> bool {
        let Some(checks) = &mut self.checks else { return false };
        while let Some(slot) = self.free[index].pop() {
            if let Some(unit) = checks.next_written(own(ring, index, slot)) {
                let sector = unit * self.choice.unit_sectors;
                ring.submit(slot, Transfer { writes: false, sector }, ticks());
            }
        }
        ring.publish()
    }

    fn line(&self, ios: u64) -> String {
        let mib = ios as f64 * f64::from(self.options.bs) / f64::from(1 << 20);
        let p50 = self.latency_ns.value_at_quantile(0.5);
        format!("{ios:>10} IOPS  {mib:>9.1} MiB/s  p50 {p50:>8} ns")
    }
}

/// Number of a slot among those of all queues.
fn own(ring: &Ring, index: usize, slot: u16) -> usize {
    index * usize::from(ring.depth()) + usize::from(slot)
}

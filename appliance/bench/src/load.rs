//! The loop: reaps answers and submits as many requests again, on all queues in turn.

use crate::checks::Checks;
use crate::choice::Choice;
use crate::clock::{self, Clock, ticks};
use crate::disks::Disks;
use crate::error::BenchError;
use crate::options::{Direction, Options};
use crate::pace::Pace;
use crate::queue::{BATCH, Disk, Done, Queue, Transfer};
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
    pub(crate) interrupts: u64,
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
    status: String,
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
pub(crate) fn warm_up<D: Disk>(
    disks: &mut Disks<D>,
    options: &Options,
    surroundings: &mut Surroundings<'_>,
) -> Result<Option<u16>, BenchError> {
    let server = surroundings.server;
    let before = server.usage();
    let rw = if options.rw.is_random() { Direction::RandRead } else { Direction::Read };
    let brief = Options { runtime: WARM_UP.as_secs_f64(), rw, verify: None, ..options.clone() };
    run(disks, &brief, surroundings)?;
    Ok(server.busiest_cpu(&before, &server.usage()))
}

pub(crate) fn run<D: Disk>(
    disks: &mut Disks<D>,
    options: &Options,
    surroundings: &mut Surroundings<'_>,
) -> Result<Measured, BenchError> {
    let mut load = Load::new(options, disks)?;
    let before = disks.notices();
    let (usage, own) = (surroundings.server.usage(), clock::of_this_thread());
    let start = ticks();
    let end = start.wrapping_add(load.clock.ticks(Duration::from_secs_f64(options.runtime)));
    let (busy, asleep) = load.turn_until(disks, Ticks { start, end }, surroundings)?;
    load.drain(disks)?;
    let elapsed = ticks().wrapping_sub(start).max(1);
    let own = clock::of_this_thread().saturating_sub(own);
    let server = surroundings.server.usage().since(&usage);
    let notices = disks.notices();
    load.read_back(disks, surroundings)?;
    Ok(Measured {
        reads: load.ios - load.writes,
        writes: load.writes,
        elapsed: Duration::from_nanos(load.clock.ns(elapsed)),
        busy: busy as f64 / elapsed as f64,
        worked: own.mul_f64(busy as f64 / elapsed.saturating_sub(asleep).max(1) as f64),
        latency_ns: load.latency_ns,
        kicks: notices.kicks - before.kicks,
        interrupts: notices.interrupts - before.interrupts,
        server,
        verified: load.checks.map(|checks| checks.verified()),
        reconnects: disks.reconnects(),
    })
}

impl<'a> Load<'a> {
    fn new<D: Disk>(options: &'a Options, disks: &Disks<D>) -> Result<Self, BenchError> {
        let choice = Choice::new(options, disks.sectors());
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
            free: disks.queues.iter().map(|queue| (0..queue.depth()).rev().collect()).collect(),
            options,
        })
    }

    /// Makes turns until `end`. Returns the ticks spent busy, and those asleep.
    fn turn_until<D: Disk>(
        &mut self,
        disks: &mut Disks<D>,
        span: Ticks,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(u64, u64), BenchError> {
        let Ticks { start, end } = span;
        let [second, look] = [Duration::from_secs(1), LOOK].map(|time| self.clock.ticks(time));
        let (mut now, mut busy, mut asleep) = (start, 0, 0);
        let mut batch = Batch { done: [Done::default(); BATCH], first: 0 };
        let (mut line_at, mut line_ios, mut look_at) = (start.wrapping_add(second), 0, start);
        while now < end {
            let worked = self.turn_all(disks, &mut batch, now)?;
            let after = ticks();
            if worked {
                busy += after.wrapping_sub(now);
            } else if self.sleep(disks, after) {
                asleep += ticks().wrapping_sub(after);
            }
            now = after;
            if now >= look_at {
                look_at = now.wrapping_add(look);
                disks.check()?;
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
    fn turn_all<D: Disk>(
        &mut self,
        disks: &mut Disks<D>,
        batch: &mut Batch,
        now: u64,
    ) -> Result<bool, BenchError> {
        let (count, mut worked) = (disks.queues.len(), false);
        for index in (batch.first..count).chain(0..batch.first) {
            worked |= self.turn(&mut disks.queues[index], batch, index, now)?;
        }
        if worked {
            batch.first = if batch.first + 1 < count { batch.first + 1 } else { 0 };
        }
        Ok(worked)
    }

    /// Looks at one queue; returns whether anything was to be done.
    #[inline]
    fn turn<Q: Queue>(
        &mut self,
        queue: &mut Q,
        batch: &mut Batch,
        index: usize,
        now: u64,
    ) -> Result<bool, BenchError> {
        let seen = self.reap(queue, batch, index)?;
        let (reaped, now) = (seen.is_some(), seen.unwrap_or(now));
        while let Some(&slot) = self.free[index].last() {
            let Some(due) = self.due(now) else { break };
            self.free[index].pop();
            let transfer = self.next(queue, index, slot);
            queue.submit(slot, transfer, due);
        }
        Ok(queue.publish() || reaped)
    }

    /// Takes answers; returns the tick at which they were seen, or none if there are none.
    #[inline]
    fn reap<Q: Queue>(
        &mut self,
        queue: &mut Q,
        batch: &mut Batch,
        index: usize,
    ) -> Result<Option<u64>, BenchError> {
        let count = queue.reap(&mut batch.done).map_err(|reason| self.wrong(index, reason))?;
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
            done.iter().try_for_each(|one| self.end(queue, index, one))?;
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
    fn sleep<D: Disk>(&self, disks: &Disks<D>, now: u64) -> bool {
        self.pace.as_ref().is_some_and(|pace| disks.in_flight() == 0 && pace.sleep(now, LOOK))
    }

    /// Chooses a slot's next request.
    #[inline]
    fn next<Q: Queue>(&mut self, queue: &Q, index: usize, slot: u16) -> Transfer {
        let writes = self.choice.writes();
        let written = writes.then(|| queue.data(slot));
        let unit = match &mut self.checks {
            Some(checks) => checks.next(own(queue, index, slot), &mut self.choice, written),
            None => self.choice.unit(),
        };
        Transfer { writes, sector: unit * self.choice.unit_sectors }
    }

    /// Checks the status of a request and the data that it read.
    fn end<Q: Queue>(&mut self, queue: &Q, index: usize, done: &Done) -> Result<(), BenchError> {
        if done.status != 0 {
            self.failed += 1;
            let (writes, sector) = (done.writes, queue.sector(done.slot));
            self.first_failure.get_or_insert_with(|| Failure {
                writes,
                sector,
                status: Q::status(done.status),
            });
            return Ok(());
        }
        let Some(checks) = &mut self.checks else { return Ok(()) };
        let sectors = self.choice.unit_sectors;
        checks
            .check(own(queue, index, done.slot), queue.data(done.slot))
            .map_err(|(unit, what)| BenchError::Corrupt { unit, byte: unit * sectors * 512, what })
    }

    /// Waits for requests in flight.
    fn drain<D: Disk>(&mut self, disks: &mut Disks<D>) -> Result<(), BenchError> {
        let (mut now, mut look_at) = (ticks(), 0);
        let mut batch = Batch { done: [Done::default(); BATCH], first: 0 };
        let mut end = now.wrapping_add(self.clock.ticks(GRACE));
        while disks.in_flight() > 0 {
            for (index, queue) in disks.queues.iter_mut().enumerate() {
                self.reap(queue, &mut batch, index)?;
            }
            now = ticks();
            if now >= look_at {
                look_at = now.wrapping_add(self.clock.ticks(LOOK));
                if disks.check()? {
                    end = ticks().wrapping_add(self.clock.ticks(GRACE));
                }
            }
            if now > end {
                return Err(BenchError::Stuck(disks.in_flight()));
            }
        }
        self.first_failure.as_ref().map_or(Ok(()), |first| {
            let &Failure { writes, sector, .. } = first;
            let (verb, status) = (if writes { "write" } else { "read" }, first.status.clone());
            Err(BenchError::Failed { failed: self.failed, total: self.ios, verb, sector, status })
        })
    }

    /// Reads back and checks all that was written, where data is checked; not measured.
    fn read_back<D: Disk>(
        &mut self,
        disks: &mut Disks<D>,
        surroundings: &Surroundings<'_>,
    ) -> Result<(), BenchError> {
        let Some(checks) = &mut self.checks else { return Ok(()) };
        checks.rewind();
        let measured = (self.latency_ns.clone(), self.ios, self.writes);
        let mut left = true;
        while left && !surroundings.stop.load(Relaxed) {
            left = false;
            for (index, queue) in disks.queues.iter_mut().enumerate() {
                left |= self.submit_reads(queue, index);
            }
            self.drain(disks)?;
        }
        (self.latency_ns, self.ios, self.writes) = measured;
        Ok(())
    }

    /// Reads something that was written with each slot that has any left; returns whether one has.
    fn submit_reads<Q: Queue>(&mut self, queue: &mut Q, index: usize) -> bool {
        let Some(checks) = &mut self.checks else { return false };
        while let Some(slot) = self.free[index].pop() {
            if let Some(unit) = checks.next_written(own(queue, index, slot)) {
                let sector = unit * self.choice.unit_sectors;
                queue.submit(slot, Transfer { writes: false, sector }, ticks());
            }
        }
        queue.publish()
    }

    /// Error of the disk that a queue is of.
    #[cold]
    fn wrong(&self, index: usize, reason: String) -> BenchError {
        let path = self.options.disks.get(index / usize::from(self.options.queues));
        BenchError::Server { path: path.map(|path| path.display().to_string()).unwrap_or_default(), reason }
    }

    fn line(&self, ios: u64) -> String {
        let mib = ios as f64 * f64::from(self.options.bs) / f64::from(1 << 20);
        let p50 = self.latency_ns.value_at_quantile(0.5);
        format!("{ios:>10} IOPS  {mib:>9.1} MiB/s  p50 {p50:>8} ns")
    }
}

/// Number of a slot among those of all queues.
fn own<Q: Queue>(queue: &Q, index: usize, slot: u16) -> usize {
    index * usize::from(queue.depth()) + usize::from(slot)
}

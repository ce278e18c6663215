//! An ideal null device: the limit of handing requests from one CPU to another.
//!
//! Path: **client** -> submissions -> **device** -> completions -> **client**.
//!
//! The rings are those of an NVMe queue pair: submissions of 64 bytes, completions of 16 bytes
//! with a phase bit, a doorbell in memory. The device checks nothing and does nothing, so what
//! is measured is the limit of the memory between the two CPUs, which no real device passes. Both
//! sides take in batches what is there, and the device prefetches the submissions of a batch.
//!
//! Invariants
//! - At most `DEPTH_MAX` requests are in flight, half of the rings, so neither overflows and
//!   the completion ring needs no doorbell.
//! - The thread that is the device ends with the call, whatever happens to the client.
//!
//! Not here: data, checks, interrupts.

use crate::clock::{Clock, ticks};
use crate::error::BenchError;
use crate::round_trip;
use clap::Args;
use serde::Serialize;
use std::array::from_fn;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::time::Duration;

/// Entries of each ring: a power of two.
const ENTRIES: u32 = 1024;
/// Requests in flight at most.
const DEPTH_MAX: u16 = 512;
/// Requests the device answers before it looks at the doorbell again.
const BATCH: u32 = 64;
/// Submissions that the device prefetches ahead.
const AHEAD: u32 = 12;
/// Turns of the client between two looks at the clock.
const TURNS: u32 = 64;

/// Options of the measurement, with the letters of the load generator.
#[derive(Clone, Debug, Args, Serialize)]
pub struct IdealOptions {
    /// Requests in flight
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=i64::from(DEPTH_MAX)))]
    pub iodepth: u16,
    /// Seconds to run
    #[arg(long, default_value_t = 1.0)]
    pub runtime: f64,
    /// The client's CPU; the last one the process may use unless given
    #[arg(long)]
    pub cpu: Option<u16>,
    /// The device's CPU; the first one the process may use unless given
    #[arg(long)]
    pub device_cpu: Option<u16>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Result of a measurement.
#[derive(Clone, Debug, Serialize)]
pub struct IdealReport {
    /// Options it was made with.
    pub options: IdealOptions,
    /// Requests.
    pub ios: u64,
    /// Seconds measured.
    pub seconds: f64,
    /// Requests a second.
    pub iops: f64,
    /// Time of the device for each request; it polls, so this is its CPU time.
    pub target_ns_per_io: f64,
    /// There and back between the two CPUs; none where the other one was too busy to say.
    pub cache_line_round_trip_ns: Option<f64>,
}

impl IdealReport {
    /// As one JSON object, with the field names above.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers and structures of them: it cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for IdealReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "requests            {} in {:.2} s", self.ios, self.seconds)?;
        writeln!(f, "IOPS                {:.0}", self.iops)?;
        writeln!(f, "target CPU per I/O  {:.1} ns", self.target_ns_per_io)?;
        match self.cache_line_round_trip_ns {
            Some(ns) => write!(f, "cache line          {ns:.1} ns there and back"),
            None => write!(f, "cache line          unknown"),
        }
    }
}

/// Runs the client on this thread and the device on another.
///
/// # Errors
/// [`BenchError::Options`] where there is only one CPU; [`BenchError::System`] where a CPU
/// cannot be had.
pub fn run(options: &IdealOptions) -> Result<IdealReport, BenchError> {
    if !(0.001..=3600.0).contains(&options.runtime) {
        return Err(BenchError::Options(format!(
            "--runtime {} is not from 0.001 to 3600 seconds",
            options.runtime
        )));
    }
    let first = options.device_cpu.map_or_else(round_trip::first_cpu, Ok)?;
    let home = round_trip::pin(options.cpu)?;
    if first == home {
        return Err(BenchError::Options(format!(
            "client and device need a CPU each, and both have CPU {home}: name two (--cpu, --device-cpu), on a \
             machine that has two"
        )));
    }
    let distance = round_trip::measure(home, Some(first));
    let (ios, seconds) = measure(options, first)?;
    let count = ios.max(1) as f64;
    Ok(IdealReport {
        options: options.clone(),
        ios,
        seconds,
        iops: ios as f64 / seconds,
        target_ns_per_io: seconds * 1e9 / count,
        cache_line_round_trip_ns: distance,
    })
}

/// Requests answered, and in how many seconds.
fn measure(options: &IdealOptions, device_cpu: u16) -> Result<(u64, f64), BenchError> {
    let (pair, clock) = (QueuePair::new(), Clock::calibrate());
    std::thread::scope(|threads| {
        let device = threads.spawn(|| {
            round_trip::pin(Some(device_cpu))?;
            let mut head = 0;
            while !pair.stop.0.load(Relaxed) {
                head = pair.serve(head);
            }
            Ok(())
        });
        let mut client = Client::new(&pair, options.iodepth.into());
        let start = ticks();
        let end = start.wrapping_add(clock.ticks(Duration::from_secs_f64(options.runtime)));
        while ticks() < end {
            (0..TURNS).for_each(|_| client.turn());
        }
        let elapsed = clock.ns(ticks().wrapping_sub(start));
        pair.stop.0.store(true, Relaxed);
        // Aborted with the process where panics abort; elsewhere it is the panic's own message.
        let served = device.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        served.map(|()| (client.answered, elapsed as f64 / 1e9))
    })
}

/// A word with two cache lines of its own: CPUs fetch them in pairs.
#[repr(align(128))]
struct Apart<T>(T);

#[repr(align(64))]
struct Submission([AtomicU64; 8]);

#[repr(align(16))]
struct Completion([AtomicU64; 2]);

#[repr(align(4096))]
struct QueuePair {
    submissions: [Submission; ENTRIES as usize],
    completions: [Completion; ENTRIES as usize],
    /// Submissions that the client has ever made.
    doorbell: Apart<AtomicU32>,
    stop: Apart<AtomicBool>,
}

impl QueuePair {
    fn new() -> Box<Self> {
        Box::new(Self {
            submissions: from_fn(|_| Submission(from_fn(|_| AtomicU64::new(0)))),
            completions: from_fn(|_| Completion(from_fn(|_| AtomicU64::new(0)))),
            doorbell: Apart(AtomicU32::new(0)),
            stop: Apart(AtomicBool::new(false)),
        })
    }

    /// The device: answers what waits behind `head`, and returns the new head.
    #[inline]
    fn serve(&self, head: u32) -> u32 {
        // Acquire: the submissions are there before the doorbell that covers them.
        let waiting = self.doorbell.0.load(Acquire).wrapping_sub(head).min(BATCH);
        let end = head.wrapping_add(waiting);
        (0..waiting.min(AHEAD)).for_each(|i| self.prefetch(head.wrapping_add(i)));
        for i in 0..waiting {
            if i + AHEAD < waiting {
                self.prefetch(head.wrapping_add(i + AHEAD));
            }
            self.answer(head.wrapping_add(i));
        }
        end
    }

    #[inline]
    fn answer(&self, at: u32) {
        let Submission(words) = &self.submissions[slot(at)];
        let (command, lba) = (words[0].load(Relaxed), words[5].load(Relaxed));
        let Completion(answer) = &self.completions[slot(at)];
        answer[0].store(lba, Relaxed);
        // Release: the first word is there before the phase that covers both.
        answer[1].store(command << 1 | phase(at), Release);
    }

    #[inline]
    #[expect(unsafe_code, reason = "the prefetch is an intrinsic")]
    fn prefetch(&self, at: u32) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let entry = &raw const self.submissions[slot(at)];
        // SAFETY: a prefetch has no effect but on caches, whatever the address.
        unsafe { _mm_prefetch(entry.cast(), _MM_HINT_T0) };
    }
}

/// The client: keeps `depth` requests in flight.
struct Client<'a> {
    pair: &'a QueuePair,
    depth: u32,
    submitted: u32,
    completed: u32,
    answered: u64,
}

impl<'a> Client<'a> {
    const fn new(pair: &'a QueuePair, depth: u32) -> Self {
        Self { pair, depth, submitted: 0, completed: 0, answered: 0 }
    }

    /// Takes what was answered, and submits as much again.
    #[inline]
    fn turn(&mut self) {
        let before = self.completed;
        while self.completed != self.submitted && self.is_answered(self.completed) {
            self.completed = self.completed.wrapping_add(1);
        }
        self.answered += u64::from(self.completed.wrapping_sub(before));
        let wanted = self.completed.wrapping_add(self.depth);
        if self.submitted == wanted {
            return;
        }
        while self.submitted != wanted {
            self.submit(self.submitted);
            self.submitted = self.submitted.wrapping_add(1);
        }
        // Release: the submissions are there before the doorbell that covers them.
        self.pair.doorbell.0.store(wanted, Release);
    }

    #[inline]
    fn is_answered(&self, at: u32) -> bool {
        let Completion(answer) = &self.pair.completions[slot(at)];
        // Acquire: both words are seen as the device left them.
        answer[1].load(Acquire) & 1 == phase(at)
    }

    #[inline]
    fn submit(&self, at: u32) {
        let Submission(words) = &self.pair.submissions[slot(at)];
        for (word, value) in words.iter().zip(u64::from(at)..) {
            word.store(value, Relaxed);
        }
    }
}

const fn slot(at: u32) -> usize {
    (at % ENTRIES) as usize
}

/// One in the first round through the ring, then zero, and so on: never what the ring holds.
fn phase(at: u32) -> u64 {
    u64::from((at / ENTRIES).is_multiple_of(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_answered_once_and_only_after_it_was_served() {
        let pair = QueuePair::new();
        let (mut client, mut head) = (Client::new(&pair, 100), 0);
        client.turn();
        client.turn();
        assert_eq!(client.submitted, 100);
        assert_eq!(client.answered, 0);
        for round in 1..200_u64 {
            head = pair.serve(pair.serve(head));
            client.turn();
            assert_eq!(client.answered, round * 100);
            assert_eq!(u64::from(head), round * 100);
        }
    }

    #[test]
    fn a_batch_is_all_that_is_served_at_once() {
        let pair = QueuePair::new();
        Client::new(&pair, 512).turn();
        assert_eq!(pair.serve(0), BATCH);
        assert_eq!(pair.serve(512), 512);
    }

    #[test]
    fn two_cpus_answer_each_other() {
        let options = IdealOptions { iodepth: 16, runtime: 0.05, cpu: None, device_cpu: None, json: false };
        match run(&options) {
            Ok(report) => assert!(report.ios > 0 && report.iops > 0.0, "{report}"),
            // All that this machine may say.
            Err(error) => assert!(error.to_string().contains("need a CPU each"), "{error}"),
        }
    }

    #[test]
    fn one_cpu_for_both_is_refused() {
        let cpu = Some(round_trip::first_cpu().unwrap());
        let options = IdealOptions { iodepth: 1, runtime: 0.1, cpu, device_cpu: cpu, json: false };
        assert!(matches!(run(&options), Err(BenchError::Options(_))));
    }
}

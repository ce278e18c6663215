//! The distance of two CPUs: the time for a cache line to go there and back. On shared machines it changes by
//! a factor of five, and results of different distances do not compare.

use crate::error::BenchError;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::time::{Duration, Instant};

#[repr(align(128))]
struct Line(AtomicU64);

/// Trips of one measurement.
const TRIPS: u64 = 20_000;

/// Time limit of a measurement: the other CPU may be busy.
const LIMIT: Duration = Duration::from_millis(500);

/// Puts this thread on `cpu`, or on the last one the process may use.
pub(crate) fn pin(cpu: Option<u16>) -> Result<u16, BenchError> {
    let may = sched_getaffinity(None).map_err(system)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| may.is_set(cpu)).unwrap_or(0);
    let cpu = cpu.map_or(last, usize::from);
    if cpu >= CpuSet::MAX_CPU {
        return Err(BenchError::Options(format!(
            "--cpu {cpu} is not a CPU: they are numbered from 0, below {}",
            CpuSet::MAX_CPU
        )));
    }
    set(cpu).map_err(system)?;
    Ok(u16::try_from(cpu).unwrap_or(u16::MAX))
}

/// The first CPU that the process may use.
pub(crate) fn first_cpu() -> Result<u16, BenchError> {
    let may = sched_getaffinity(None).map_err(system)?;
    let first = (0..CpuSet::MAX_CPU).find(|&cpu| may.is_set(cpu)).unwrap_or(0);
    Ok(u16::try_from(first).unwrap_or(u16::MAX))
}

fn system(errno: rustix::io::Errno) -> BenchError {
    BenchError::System { what: "cannot choose a CPU (--cpu)", source: errno.into() }
}

fn set(cpu: usize) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set)
}

/// Nanoseconds from this thread's CPU `home` to `away` and back; none where that is the same
/// CPU, is not known, or is too busy to say.
pub(crate) fn measure(home: u16, away: Option<u16>) -> Option<f64> {
    let away = away.filter(|&away| away != home)?;
    let (ping, pong, stop) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let ready = set(usize::from(away)).is_ok();
            let mut trip = 0;
            while ready && stop.0.load(Relaxed) == 0 {
                let now = ping.0.load(Acquire);
                if now != trip {
                    trip = now;
                    pong.0.store(now, Release);
                }
            }
        });
        let trips = |count: u64, first: u64| {
            let start = Instant::now();
            for trip in first..first + count {
                ping.0.store(trip, Release);
                while pong.0.load(Acquire) != trip {
                    if start.elapsed() > LIMIT {
                        return None;
                    }
                }
            }
            Some(start.elapsed().as_secs_f64() * 1e9 / count as f64)
        };
        let result = trips(100, 1).and_then(|_| trips(TRIPS, 101));
        stop.0.store(1, Relaxed);
        result
    })
}

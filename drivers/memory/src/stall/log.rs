//! The page faults of a thread, and which of them took long.

use super::records::{Event, Record, Records};
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::time::Duration;

/// Longest sleep in a fault that does not count.
const SLEEP_MAX_NS: u64 = 1_000_000;

/// Longest work for a fault that does not count. What the thread does after the fault is in it, so it is
/// much more than a turn of a core takes.
const WORK_MAX_NS: u64 = 10_000_000;

/// A page fault that took long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageFault {
    /// Address of the access.
    pub address: usize,
    /// Time until the thread went on.
    pub took: Duration,
}

/// Log of the page faults of the thread that made it. It costs that thread nothing but some hundred
/// nanoseconds for each fault.
pub struct FaultLog {
    records: Records,
}

impl FaultLog {
    /// Logs the faults of the calling thread from now on.
    ///
    /// # Errors
    /// The kernel's, where it has no `perf_event_open` or does not allow it.
    pub fn start() -> io::Result<Self> {
        Ok(Self { records: Records::open()? })
    }

    /// The fault of the last `window` that took longest; none if none took long.
    #[must_use]
    pub fn costly(&self, window: Duration) -> Option<PageFault> {
        let now = now_ns();
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let recent =
            self.records.newest_first().take_while(|record| now.saturating_sub(record.time) <= window);
        costliest(now, recent)
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::MonotonicRaw);
    now.tv_sec.cast_unsigned().saturating_mul(1_000_000_000).saturating_add(now.tv_nsec.cast_unsigned())
}

/// The fault among these records, the newest first, that took longest, if that was long.
fn costliest(now: u64, newest_first: impl Iterator<Item = Record>) -> Option<PageFault> {
    let here = Record { time: now, event: Event::Other };
    // The records behind the one that is looked at, the nearer one first.
    let (mut next, mut after) = (here, here);
    let mut worst: Option<PageFault> = None;
    for record in newest_first {
        if let Event::Fault(address) = record.event
            && let Some(took) = long(record.time, next, after)
            && worst.is_none_or(|worst| took > worst.took)
        {
            worst = Some(PageFault { address, took });
        }
        (next, after) = (record, next);
    }
    worst
}

/// Duration of a fault at `time`, by the two records behind it; none if that is not long.
fn long(time: u64, next: Record, after: Record) -> Option<Duration> {
    let (end, most) = match next.event {
        Event::Sleep => (after.time, SLEEP_MAX_NS),
        _ => (next.time, WORK_MAX_NS),
    };
    let took = end.saturating_sub(time);
    (took > most).then(|| Duration::from_nanos(took))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// The costliest fault of events, the oldest first, each with its time in milliseconds; the last is now.
    fn costly(events: &[(u64, Event)]) -> Option<PageFault> {
        let newest_first = events.iter().rev().map(|&(ms, event)| Record { time: ms * MS, event });
        costliest(events.last()?.0 * MS, newest_first)
    }

    fn fault(address: usize, ms: u64) -> Option<PageFault> {
        Some(PageFault { address, took: Duration::from_millis(ms) })
    }

    #[test]
    fn a_fault_that_sleeps_took_as_long_as_the_sleep() {
        use Event::{Fault, Runs, Sleep};
        let events = |ms| [(0, Fault(7)), (0, Sleep), (ms, Runs), (ms + 1, Fault(8)), (ms + 2, Fault(9))];
        assert_eq!(costly(&events(40)), fault(7, 40));
        assert_eq!(costly(&events(1)), None);
    }

    #[test]
    fn of_several_the_longest_counts() {
        use Event::{Fault, Runs, Sleep};
        let first = [(0, Fault(7)), (0, Sleep), (5, Runs)];
        let second = [(6, Fault(8)), (6, Sleep), (9, Runs)];
        assert_eq!(costly(&[first, second].concat()), fault(7, 5));
    }

    #[test]
    fn a_thread_that_loses_its_cpu_has_not_waited_for_memory() {
        use Event::{Fault, Preempted, Runs};
        assert_eq!(costly(&[(0, Fault(7)), (1, Preempted), (500, Runs), (501, Fault(8))]), None);
        assert_eq!(costly(&[(0, Preempted), (500, Runs), (501, Fault(7))]), None);
    }

    #[test]
    fn a_sleep_that_is_not_in_a_fault_is_not_the_memorys() {
        use Event::{Fault, Preempted, Runs, Sleep};
        let events = [(0, Fault(7)), (1, Preempted), (2, Runs), (3, Sleep), (500, Runs)];
        assert_eq!(costly(&events), None);
    }

    #[test]
    fn a_fault_that_works_long_is_one() {
        use Event::Fault;
        assert_eq!(costly(&[(0, Fault(7)), (5, Fault(8)), (55, Fault(9))]), fault(8, 50));
    }

    #[test]
    fn faults_of_this_thread_are_logged_with_their_addresses() {
        let Ok(log) = FaultLog::start() else {
            return luge_skip::skip(
                "perf_event_open is not allowed: set kernel.perf_event_paranoid to 2 or less",
            );
        };
        let memory = vec![0_u8; 1 << 20];
        let touched = std::hint::black_box(&memory);
        // Not touched before: the allocator maps zeroes.
        let sum: u32 = touched.iter().step_by(4096).map(|&byte| u32::from(byte)).sum();
        assert_eq!(sum, 0);
        let range = memory.as_ptr_range();
        let inside = |record: &Record| match record.event {
            Event::Fault(address) => (range.start.addr()..range.end.addr()).contains(&address),
            _ => false,
        };
        assert!(log.records.newest_first().any(|record| inside(&record)));
        // More faults than the ring has room for leave the newest.
        let more = vec![0_u8; 16 << 20];
        let sum: u32 = std::hint::black_box(&more).iter().step_by(4096).map(|&byte| u32::from(byte)).sum();
        assert_eq!(sum, 0);
        let times: Vec<u64> = log.records.newest_first().map(|record| record.time).collect();
        assert!(times.len() > 500);
        assert!(times.is_sorted_by(|newer, older| newer >= older));
    }
}

//! Watch for turns that were long because a guest's memory kept the core waiting.
//!
//! The watch costs a turn one comparison. Only after a long turn is the kernel's log of page faults read.

use luge_memory::stall::{FaultLog, note};
use luge_trace::{Event, Kind, record};
use luge_volume::Ticks;
use std::time::Duration;

/// Time that no turn needs for its work.
const LONG: Duration = Duration::from_millis(1);

/// Watch of a core's thread, which makes it.
pub(crate) struct StallWatch {
    log: Option<FaultLog>,
    long_ticks: u64,
}

impl StallWatch {
    /// Watches the calling thread.
    pub(crate) fn start() -> Self {
        let log = FaultLog::start().inspect_err(|error| {
            tracing::warn!(
                "the kernel does not log page faults ({error}): front ends that make holes in their memory can \
                 delay others; set kernel.perf_event_paranoid to 2 or less, or run as root"
            );
        });
        Self { log: log.ok(), long_ticks: (Ticks(0) + LONG).0 }
    }

    /// Watches nothing: for a core that may be kept waiting.
    pub(crate) fn off() -> Self {
        Self { log: None, long_ticks: u64::MAX }
    }

    /// Notes whose memory a turn of `ticks` has waited for, if it was long.
    #[inline]
    pub(crate) fn turn_lasted(&self, ticks: u64) {
        if ticks > self.long_ticks {
            self.look(ticks);
        }
    }

    #[cold]
    fn look(&self, ticks: u64) {
        let window = Ticks(ticks).since(Ticks(0));
        record(&Event::of_duration(Kind::LONG_TURN, window, ""));
        let costly = self.log.as_ref().and_then(|log| log.costly(window));
        costly.iter().for_each(|fault| _ = note(fault));
    }
}

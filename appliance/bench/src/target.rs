//! CPU time of the server's threads: read from the system, where the server is a process of this machine.

use std::fs;
use std::time::Duration;

/// The process that serves the socket.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    process: Option<i32>,
}

/// A reading of a server's threads.
#[derive(Clone, Default)]
pub(crate) struct Usage {
    threads: Vec<(i32, Duration)>,
}

impl Server {
    pub(crate) fn find(process: Option<i32>) -> Self {
        Self { process }
    }

    /// The time each thread has run so far.
    pub(crate) fn usage(&self) -> Usage {
        let Some(process) = self.process else { return Usage::default() };
        let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        let threads = tasks.filter_map(|task| {
            let thread = task.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let ns = stat.split_whitespace().next()?.parse().ok()?;
            Some((thread, Duration::from_nanos(ns)))
        });
        Usage { threads: threads.collect() }
    }

    /// The CPU of the thread that worked most between two readings.
    pub(crate) fn busiest_cpu(&self, before: &Usage, after: &Usage) -> Option<u16> {
        let (thread, _) = after.threads.iter().max_by_key(|&&(thread, time)| before.passed(thread, time))?;
        let stat = fs::read_to_string(format!("/proc/{}/task/{thread}/stat", self.process?)).ok()?;
        // Fields after the name, which may itself contain blanks: the 39th is the CPU.
        stat.rsplit_once(')')?.1.split_whitespace().nth(36)?.parse().ok()
    }
}

impl Usage {
    /// Time of all threads since `before`, without those that have ended; none where nothing is
    /// known.
    pub(crate) fn since(&self, before: &Self) -> Option<Duration> {
        let passed = self.threads.iter().map(|&(thread, time)| before.passed(thread, time));
        (!self.threads.is_empty()).then(|| passed.sum())
    }

    /// Time that a thread has run since this reading.
    fn passed(&self, thread: i32, time: Duration) -> Duration {
        let earlier = self.threads.iter().find(|(t, _)| *t == thread).map_or(Duration::ZERO, |(_, t)| *t);
        time.saturating_sub(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_and_cpu_of_a_busy_process_are_seen() {
        let process = i32::try_from(std::process::id()).unwrap();
        let server = Server::find(Some(process));
        let before = server.usage();
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(50) {}
        let after = server.usage();
        assert!(after.since(&before).unwrap() >= Duration::from_millis(10));
        assert!(server.busiest_cpu(&before, &after).is_some());
    }

    #[test]
    fn a_thread_that_has_ended_takes_no_time_from_the_others() {
        let ms = Duration::from_millis;
        let before = Usage { threads: vec![(1, ms(100)), (2, ms(5000))] };
        let after = Usage { threads: vec![(1, ms(130)), (3, ms(7))] };
        assert_eq!(after.since(&before), Some(ms(37)));
    }

    #[test]
    fn a_server_elsewhere_has_no_time() {
        let usage = Server::find(None).usage();
        assert_eq!(usage.since(&usage), None);
    }
}

//! CPU times of `/proc/stat`, by which disturbance of a core is seen: its CPU runs other
//! programs too.

use luge_block::CoreId;
use std::collections::BTreeMap;
use std::fs;

/// Times of a CPU since the machine started, in ticks of 10 ms (`USER_HZ`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Time of programs.
    pub user: u64,
    /// Time of the kernel on behalf of programs.
    pub kernel: u64,
    /// Time of interrupts.
    pub interrupts: u64,
}

impl CpuTimes {
    /// Reads the times of all CPUs; empty if the kernel has none.
    pub fn all() -> BTreeMap<CoreId, Self> {
        parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }
}

fn parse(stat: &str) -> BTreeMap<CoreId, CpuTimes> {
    stat.lines().filter_map(line).collect()
}

/// Parses a line `cpu3 user nice system idle iowait irq ...` of proc(5).
fn line(line: &str) -> Option<(CoreId, CpuTimes)> {
    let mut words = line.strip_prefix("cpu")?.split(' ');
    let cpu = words.next()?.parse().ok()?;
    let counts: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
    let &[user, _nice, kernel, _idle, _waiting, interrupts, ..] = counts.as_slice() else { return None };
    Some((CoreId(cpu), CpuTimes { user, kernel, interrupts }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cpu_has_its_line_and_the_sum_of_all_is_none() {
        let stat =
            "cpu  9 9 9 9 9 9 9 0 0 0\ncpu0 1 2 3 4 5 6 7 0 0 0\ncpu12 10 0 30 0 0 60 0 0 0 0\nintr 5 6\n";
        let times = |user, kernel, interrupts| CpuTimes { user, kernel, interrupts };
        let expected = [(CoreId(0), times(1, 3, 6)), (CoreId(12), times(10, 30, 60))];
        assert_eq!(parse(stat), BTreeMap::from(expected));
        assert_eq!(parse("cpu0 1 2\ncpux 1 2 3 4 5 6\n"), BTreeMap::new());
    }

    #[test]
    fn this_machine_tells_of_its_cpus() {
        assert!(CpuTimes::all().values().any(|times| times.user > 0));
    }
}

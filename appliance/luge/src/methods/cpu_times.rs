//! What the kernel counts of each CPU, in `/proc/stat`: a core's CPU that does more than the
//! core is disturbed.

use luge_block::CoreId;
use std::collections::BTreeMap;
use std::fs;

/// Where a CPU's time went since the machine started, in ticks of 10 ms (`USER_HZ`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// To programs.
    pub user: u64,
    /// To the kernel on behalf of programs.
    pub kernel: u64,
    /// To interrupts.
    pub interrupts: u64,
}

impl CpuTimes {
    /// Those of all CPUs; none where the kernel does not tell.
    pub fn all() -> BTreeMap<CoreId, Self> {
        parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }
}

fn parse(stat: &str) -> BTreeMap<CoreId, CpuTimes> {
    stat.lines().filter_map(line).collect()
}

/// `cpu3 user nice system idle iowait irq ...`, as proc(5) has it.
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

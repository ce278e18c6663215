//! Sets of CPUs, as masks and lists: `0x3`, `3`, `[0,2-5]`.

use luge_block::CoreId;
use luge_host::CpuList;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Highest CPU number in a set, plus one.
const CPUS: u16 = 1024;

/// Error of a set of CPUs.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CpusError {
    /// Neither a mask nor a list.
    #[error("`{0}` is not a set of CPUs: write a mask (0x3) or a list ([0,2-5])")]
    Syntax(String),
    /// No CPU at all.
    #[error("`{0}` has no CPU in it: write a mask (0x3) or a list ([0,2-5])")]
    Empty(String),
    /// Some CPUs do not exist, or this process may not run on them.
    #[error("CPU {beyond} cannot be used: this process has {have}; choose among them (cpumask)")]
    Beyond {
        /// CPUs that cannot be used.
        beyond: Cpus,
        /// CPUs that can be used.
        have: Cpus,
    },
}

/// A set of CPUs, not empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cpus(BTreeSet<CoreId>);

impl Cpus {
    /// CPUs that this process may run on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn allowed() -> std::io::Result<Self> {
        let set = sched_getaffinity(None)?;
        let is_set = |cpu: &u16| usize::from(*cpu) < CpuSet::MAX_CPU && set.is_set(usize::from(*cpu));
        Ok(Self((0..CPUS).filter(is_set).map(CoreId).collect()))
    }

    /// CPUs of this machine that are switched on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn online() -> std::io::Result<Self> {
        Self::listed("online").ok_or_else(|| std::io::Error::other("the kernel does not list them"))
    }

    /// CPUs that the kernel's scheduler leaves alone (`isolcpus=`), if there are any.
    #[must_use]
    pub fn isolated() -> Option<Self> {
        Self::listed("isolated")
    }

    /// CPUs of the physical core that a CPU is of.
    #[must_use]
    pub fn siblings(cpu: u16) -> Option<Self> {
        Self::listed(&format!("cpu{cpu}/topology/thread_siblings_list"))
    }

    /// CPUs that a file of the kernel lists.
    fn listed(file: &str) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/sys/devices/system/cpu/{file}")).ok()?;
        format!("[{}]", text.trim()).parse().ok()
    }

    /// Numbers of the CPUs, in ascending order.
    #[must_use]
    pub fn numbers(&self) -> Vec<u16> {
        self.0.iter().map(|cpu| cpu.0).collect()
    }

    /// Set of the first CPU alone.
    #[must_use]
    pub fn first(&self) -> Self {
        Self(self.0.iter().take(1).copied().collect())
    }

    /// CPUs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = CoreId> {
        self.0.iter().copied()
    }

    /// Checks that all CPUs are in `have`.
    ///
    /// # Errors
    /// [`CpusError::Beyond`].
    pub fn check(&self, have: &Self) -> Result<(), CpusError> {
        let beyond = self.without(have);
        if beyond.0.is_empty() { Ok(()) } else { Err(CpusError::Beyond { beyond, have: have.clone() }) }
    }

    /// Difference of this set and `other`; may be empty.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// Moves the calling thread, and threads that it starts later, to other CPUs, if there are any:
    /// a core shares its CPU with no other thread.
    pub fn vacate(&self) {
        let Ok(allowed) = Self::allowed() else { return };
        let others = allowed.without(self);
        if others.0.is_empty() {
            return;
        }
        let mut set = CpuSet::new();
        others.iter().for_each(|cpu| set.set(usize::from(cpu.0)));
        if let Err(error) = sched_setaffinity(None, &set) {
            tracing::warn!("threads that serve no disks stay on CPU {self} too: {error}");
        }
    }

    /// The set as the kernel writes it.
    #[must_use]
    pub fn list(&self) -> CpuList {
        self.0.iter().map(|cpu| cpu.0.into()).collect()
    }

    /// Text of the set as a mask: `0x3`.
    #[must_use]
    pub fn mask(&self) -> String {
        let highest = self.0.last().map_or(0, |cpu| cpu.0);
        let digit =
            |at: u16| (0..4).filter(|bit| self.0.contains(&CoreId(at * 4 + bit))).map(|bit| 1 << bit).sum();
        let digits = (0..=highest / 4).rev().map(|at| char::from_digit(digit(at), 16).unwrap_or('0'));
        format!("0x{}", digits.collect::<String>())
    }
}

impl FromIterator<CoreId> for Cpus {
    fn from_iter<I: IntoIterator<Item = CoreId>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

impl FromStr for Cpus {
    type Err = CpusError;

    fn from_str(text: &str) -> Result<Self, CpusError> {
        let shown = || text.chars().take(64).collect::<String>();
        let list = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let cpus = list.map_or_else(|| of_mask(text), of_list).ok_or_else(|| CpusError::Syntax(shown()))?;
        if cpus.is_empty() { Err(CpusError::Empty(shown())) } else { Ok(Self(cpus)) }
    }
}

fn of_mask(text: &str) -> Option<BTreeSet<CoreId>> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    if digits.is_empty() || digits.len() > usize::from(CPUS / 4) {
        return None;
    }
    let mut cpus = BTreeSet::new();
    for (place, digit) in (0..).zip(digits.chars().rev()) {
        let digit = digit.to_digit(16)?;
        cpus.extend((0..4).filter(|bit| digit >> bit & 1 == 1).map(|bit: u16| CoreId(place * 4 + bit)));
    }
    Some(cpus)
}

fn of_list(text: &str) -> Option<BTreeSet<CoreId>> {
    let numbers = CpuList::parse(text)?;
    let core = |cpu| u16::try_from(cpu).ok().filter(|&cpu| cpu < CPUS).map(CoreId);
    numbers.iter().map(core).collect()
}

/// Formats the set as a list without brackets: `0,2-5`.
impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(text: &str) -> Cpus {
        text.parse().unwrap()
    }

    #[test]
    fn masks_and_lists_mean_the_same_cpus() {
        for (mask, list, shown) in [
            ("0x1", "[0]", "0"),
            ("3", "[0,1]", "0-1"),
            ("0xF5", "[0, 2, 4-7]", "0,2,4-7"),
            ("0x8000000000000000000000000000000000", "[135]", "135"),
        ] {
            assert_eq!(cpus(mask), cpus(list));
            assert_eq!(cpus(list).to_string(), shown);
            assert_eq!(cpus(&cpus(mask).mask()), cpus(mask));
        }
        assert_eq!(cpus("[0-1,5]").mask(), "0x23");
    }

    #[test]
    fn what_is_no_set_of_cpus_is_refused() {
        for text in ["", "0x", "xyz", "[", "[]", "[0", "[1-0]", "[-1]", "[0,,1]", "[1024]", "-1", "0x1 "] {
            assert!(text.parse::<Cpus>().is_err(), "{text}");
        }
        assert_eq!("0x0".parse::<Cpus>(), Err(CpusError::Empty("0x0".into())));
        assert!("f".repeat(10_000).parse::<Cpus>().unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn cpus_beyond_the_machine_are_named_with_those_that_are_there() {
        assert_eq!(cpus("0x3").check(&cpus("0xf")), Ok(()));
        let error = cpus("[0,6-7]").check(&cpus("[0-3]")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "CPU 6-7 cannot be used: this process has 0-3; choose among them (cpumask)"
        );
    }

    #[test]
    fn a_cpu_of_this_machine_is_of_its_own_core() {
        let first = Cpus::online().unwrap().first();
        let number = first.numbers()[0];
        assert_eq!(first.check(&Cpus::siblings(number).unwrap()), Ok(()));
    }

    #[test]
    fn the_cpus_of_this_process_can_be_used() {
        let allowed = Cpus::allowed().unwrap();
        assert_eq!(allowed.first().check(&allowed), Ok(()));
        assert_eq!(allowed.first().iter().count(), 1);
    }
}

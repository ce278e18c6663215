//! Sets of CPUs, as the kernel writes them.

use serde::{Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;

/// Highest number of a CPU that is understood.
const CPU_MAX: u32 = 8191;

/// A set of CPUs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CpuList(BTreeSet<u32>);

impl CpuList {
    /// Parses a list such as `0,2-5`; none if it is no such list, or empty.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut cpus = BTreeSet::new();
        for part in text.trim().split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            cpus.extend(first..=Some(last).filter(|&last| (first..=CPU_MAX).contains(&last))?);
        }
        Some(Self(cpus))
    }

    /// Parses a mask in groups of 32 CPUs, such as `ff,00000001`.
    pub(crate) fn parse_mask(text: &str) -> Option<Self> {
        let mut cpus = BTreeSet::new();
        for (group, digits) in (0..=CPU_MAX / 32).zip(text.trim().rsplit(',')) {
            let bits = u32::from_str_radix(digits, 16).ok()?;
            cpus.extend((0..32).filter(|bit| bits >> bit & 1 == 1).map(|bit| group * 32 + bit));
        }
        Some(Self(cpus))
    }

    /// Numbers of the CPUs, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, cpu: u32) -> bool {
        self.0.contains(&cpu)
    }

    /// Whether all CPUs of another set are in this one.
    pub(crate) fn includes(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }

    /// Whether any CPU is in both sets.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        !self.0.is_disjoint(&other.0)
    }
}

impl FromIterator<u32> for CpuList {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

/// Formats the set as the kernel's lists: `0,2-5`.
impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|&next| next == last + 1) {
                last = next;
            }
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

impl Serialize for CpuList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_masks_mean_the_same_cpus() {
        for (list, mask) in [("0", "1"), ("1,3-5", "0000003a"), ("31-32,64", "1,00000001,80000000")] {
            assert_eq!(CpuList::parse(list), CpuList::parse_mask(mask));
            assert_eq!(CpuList::parse(list).unwrap().to_string(), list);
        }
    }

    #[test]
    fn what_is_no_list_is_none() {
        for text in ["", "(null)", "x", "1-", "2-1", "0,2-1", "0-4294967295"] {
            assert_eq!(CpuList::parse(text), None, "{text}");
        }
        assert_eq!(CpuList::parse_mask("x"), None);
    }
}

//! Interrupt Coalescing. Base 2.0, clause 5.27.1.6.

use std::time::Duration;

/// Number of completions, and the time, for which a completion queue may delay its interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Coalescing {
    /// Completions that are worth an interrupt at once; fewer wait for more. At most one: none waits.
    pub completions: u32,
    /// Longest wait. Zero: none waits.
    pub time: Duration,
}

impl Coalescing {
    /// CDW11 of the feature: THR, zero-based, in bits 0 to 7, and TIME in units of 100 us in bits 8 to 15.
    #[must_use]
    pub fn from_feature(cdw11: u32) -> Self {
        let (threshold_z, units) = (cdw11 & 0xff, cdw11 >> 8 & 0xff);
        Self {
            completions: threshold_z.saturating_add(1),
            time: Duration::from_micros(u64::from(units).saturating_mul(100)),
        }
    }

    /// Whether so many completions are to be reported without a wait.
    pub(crate) fn reports(&self, completions: u32) -> bool {
        self.time.is_zero() || completions >= self.completions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_completions_than_the_threshold_wait_if_there_is_a_time() {
        let coalescing = Coalescing::from_feature(0x0203);
        assert_eq!(coalescing.time, Duration::from_micros(200));
        assert!(!coalescing.reports(3));
        assert!(coalescing.reports(4));
        assert!(Coalescing::from_feature(0x0003).reports(1), "without a time none waits");
        assert!(Coalescing::from_feature(0x0200).reports(1), "a threshold of one");
    }
}

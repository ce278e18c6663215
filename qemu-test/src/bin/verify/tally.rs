//! Numbers of passed and failed tests, from the output of the test harness.

use std::fmt;
use std::iter::Sum;

/// Numbers of passed and failed tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

impl Tally {
    /// One passed test.
    pub(crate) const PASSED: Self = Self { passed: 1, failed: 0 };
    /// One failed test.
    pub(crate) const FAILED: Self = Self { passed: 0, failed: 1 };

    /// Sums the harness's lines `test result: ok. 3 passed; 0 failed; ...`.
    pub(crate) fn of_tests(output: &str) -> Self {
        output.lines().filter_map(|line| line.strip_prefix("test result: ")).map(Self::of_result).sum()
    }

    fn of_result(line: &str) -> Self {
        let count = |what: &str| {
            let before = line.split(what).next().filter(|before| before.len() < line.len());
            before.and_then(|before| before.split_whitespace().last()?.parse().ok()).unwrap_or(0)
        };
        Self { passed: count(" passed"), failed: count(" failed") }
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |sum, one| Self {
            passed: sum.passed + one.passed,
            failed: sum.failed + one.failed,
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_test_programs_are_summed() {
        let output = "running 2 tests\n\
            test a ... ok\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
            noise: 7 passed\n\
            test result: FAILED. 10 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(Tally::of_tests(output), Tally { passed: 12, failed: 3 });
        assert_eq!(Tally::of_tests("error: could not compile"), Tally::default());
    }

    #[test]
    fn a_tally_is_written_as_the_last_line_of_a_run() {
        assert_eq!(Tally { passed: 12, failed: 3 }.to_string(), "12 passed, 3 failed");
    }
}

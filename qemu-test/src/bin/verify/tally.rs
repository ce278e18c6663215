//! Numbers of passed and failed tests and names of skipped ones, from the output of the test harness.

use luge_skip::MARK;
use std::collections::BTreeSet;
use std::fmt;
use std::iter::Sum;

/// Numbers of passed and failed tests, and the skipped ones.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    /// Names of tests that this machine cannot run.
    pub(crate) skipped: Vec<String>,
}

impl Tally {
    /// One passed test.
    pub(crate) const PASSED: Self = Self { passed: 1, failed: 0, skipped: Vec::new() };
    /// One failed test.
    pub(crate) const FAILED: Self = Self { passed: 0, failed: 1, skipped: Vec::new() };

    /// Sums the harness's lines `test result: ok. 3 passed; 0 failed; ...`, where skipped tests count as
    /// passed.
    pub(crate) fn of_tests(output: &str) -> Self {
        let results = output.lines().filter_map(|line| line.strip_prefix("test result: "));
        let mut tally: Self = results.map(Self::of_result).sum();
        tally.skipped = skipped(output);
        let count = u32::try_from(tally.skipped.len()).unwrap_or(u32::MAX);
        tally.passed = tally.passed.saturating_sub(count);
        tally
    }

    /// Summary `N passed, M failed`.
    pub(crate) fn summary(&self) -> String {
        format!("{} passed, {} failed", self.passed, self.failed)
    }

    fn of_result(line: &str) -> Self {
        let count = |what: &str| {
            let before = line.split(what).next().filter(|before| before.len() < line.len());
            before.and_then(|before| before.split_whitespace().last()?.parse().ok()).unwrap_or(0)
        };
        Self { passed: count(" passed"), failed: count(" failed"), skipped: Vec::new() }
    }
}

/// Names of the tests that report that they are skipped, each once.
fn skipped(output: &str) -> Vec<String> {
    let reports = output.lines().filter_map(|line| line.strip_prefix(MARK));
    let names = reports.filter_map(|report| report.split_whitespace().next());
    names.map(str::to_owned).collect::<BTreeSet<String>>().into_iter().collect()
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |sum, one| Self {
            passed: sum.passed + one.passed,
            failed: sum.failed + one.failed,
            skipped: [sum.skipped, one.skipped].concat(),
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        match self.skipped.as_slice() {
            [] => Ok(()),
            names => write!(f, ", {} skipped: {}", names.len(), names.join(", ")),
        }
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
        assert_eq!(Tally::of_tests(output), Tally { passed: 12, failed: 3, skipped: Vec::new() });
        assert_eq!(Tally::of_tests("error: could not compile"), Tally::default());
    }

    #[test]
    fn a_skipped_test_is_named_once_and_has_not_passed() {
        let output = "\nskipped test: disks::one (tests/disks.rs:7): no loop devices\n\
            \nskipped test: disks::one (tests/disks.rs:9): no loop devices\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let expected = Tally { passed: 2, failed: 0, skipped: vec!["disks::one".to_owned()] };
        assert_eq!(Tally::of_tests(output), expected);
    }

    #[test]
    fn a_tally_names_skipped_tests_and_its_summary_does_not() {
        let mut tally = Tally { passed: 12, failed: 3, skipped: Vec::new() };
        assert_eq!(tally.to_string(), "12 passed, 3 failed");
        tally.skipped = vec!["a::b".to_owned(), "c".to_owned()];
        assert_eq!(tally.to_string(), "12 passed, 3 failed, 2 skipped: a::b, c");
        assert_eq!(tally.summary(), "12 passed, 3 failed");
    }
}

//! Harness for tests that are functions of a seed.
//!
//! | Variable | |
//! |---|---|
//! | none | the seeds 0, 1, 2 ... for a second |
//! | `LUGE_FUZZ_SECONDS` | new seeds for that many seconds |
//! | `LUGE_FUZZ_SEED` | that seed only, decimal or `0x...`; a failure prints it |

use crate::Random;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Runs `case` for one seed after the other; a case that panics prints its seed.
///
/// # Panics
/// If a variable is not a number.
pub fn fuzz(mut case: impl FnMut(&mut Random)) {
    let plan = Plan::from_environment(|name| std::env::var(name).ok());
    let end = Instant::now() + plan.time;
    for seed in plan.first.. {
        run(seed, &mut case);
        if Instant::now() >= end {
            return;
        }
    }
}

/// Runs `case` for one seed.
fn run(seed: u64, case: &mut impl FnMut(&mut Random)) {
    let _replay = Replay(seed);
    case(&mut Random::new(seed));
}

/// Prints the seed of a case that panics.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay this case with LUGE_FUZZ_SEED={}", self.0);
        }
    }
}

/// Seeds to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Plan {
    first: u64,
    /// Time after which no further seed is begun.
    time: Duration,
}

impl Plan {
    fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| variable(name).map(|text| parsed(name, &text));
        match (number("LUGE_FUZZ_SEED"), number("LUGE_FUZZ_SECONDS")) {
            (Some(first), _) => Self { first, time: Duration::ZERO },
            (None, Some(seconds)) => Self { first: new_seed(), time: Duration::from_secs(seconds) },
            (None, None) => Self { first: 0, time: Duration::from_secs(1) },
        }
    }
}

/// Seed that no earlier run began with.
fn new_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Tests that begin together differ, and 65536 seeds of a run come before those of the next microsecond.
    (since.as_secs() << 20 | u64::from(since.subsec_micros())) << 16
}

fn parsed(name: &str, text: &str) -> u64 {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.unwrap_or_else(|_| panic!("{name}={text} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(variables: &[(&str, &str)]) -> Plan {
        Plan::from_environment(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_variables_the_same_seeds_run_for_a_second() {
        assert_eq!(plan(&[]), Plan { first: 0, time: Duration::from_secs(1) });
    }

    #[test]
    fn a_seed_is_run_alone() {
        let alone = Plan { first: 0x1f, time: Duration::ZERO };
        assert_eq!(plan(&[("LUGE_FUZZ_SEED", "31")]), alone);
        assert_eq!(plan(&[("LUGE_FUZZ_SEED", "0x1f"), ("LUGE_FUZZ_SECONDS", "9")]), alone);
    }

    #[test]
    fn a_longer_run_has_new_seeds() {
        let long = plan(&[("LUGE_FUZZ_SECONDS", "60")]);
        assert_eq!(long.time, Duration::from_secs(60));
        assert!(long.first > 1 << 48, "{long:?}");
    }

    #[test]
    fn a_seed_that_is_no_number_is_named() {
        let refused = std::panic::catch_unwind(|| plan(&[("LUGE_FUZZ_SEED", "seven")])).unwrap_err();
        let message = refused.downcast_ref::<String>().unwrap();
        assert_eq!(message, "LUGE_FUZZ_SEED=seven is not a number");
    }

    #[test]
    fn the_case_of_a_seed_gets_its_numbers() {
        let mut numbers = Vec::new();
        run(7, &mut |random: &mut Random| numbers.push(random.number()));
        assert_eq!(numbers, [Random::new(7).number()]);
    }
}

//! Tests that are functions of a seed, for a second or for as long as one likes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Runs `case` with one seed after another: for a second and always the same ones, or for
/// `LUGE_FUZZ_SECONDS` with seeds that nobody has tried. With `LUGE_FUZZ_SEED`, which a
/// failure prints, it runs that one only.
pub fn fuzz(mut case: impl FnMut(u64)) {
    if let Some(seed) = setting("LUGE_FUZZ_SEED") {
        return case(seed);
    }
    let seconds = setting("LUGE_FUZZ_SECONDS");
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(1));
    let first = seconds.map_or(0, |_| now());
    for seed in first.. {
        case(seed);
        if Instant::now() > end {
            return;
        }
    }
}

/// A number of the environment, also as `0x...`.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    Some(number.unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

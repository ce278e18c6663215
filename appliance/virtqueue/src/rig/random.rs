//! Random numbers that a seed determines, and tests that are functions of a seed.

use std::time::{Duration, Instant};

/// Numbers by the SplitMix64 sequence.
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.number() % u64::from(end)).unwrap_or(0)
    }

    /// Whether an event of probability 1 in `times` occurs.
    pub fn once_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    /// Picks an element at random.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let len = u32::try_from(from.len()).expect("few things");
        from[self.below(len) as usize]
    }
}

/// Prints the seed of a case when that fails.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with LUGE_FUZZ_SEED={}", self.0);
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs `case` with one seed after the other for a second, or for `LUGE_FUZZ_SECONDS`; with
/// `LUGE_FUZZ_SEED`, with that seed only.
pub fn fuzz(mut case: impl FnMut(&mut Random)) {
    let mut run = |seed| {
        let _replay = Replay(seed);
        case(&mut Random::new(seed));
    };
    if let Some(seed) = setting("LUGE_FUZZ_SEED") {
        return run(seed);
    }
    let end = Instant::now() + Duration::from_secs(setting("LUGE_FUZZ_SECONDS").unwrap_or(1));
    let first = std::process::id();
    (u64::from(first) << 32..).take_while(|_| Instant::now() < end).for_each(run);
}

//! Chains of a batch, a bit each, in the order in which the driver made them available.

/// Chains of a batch that may be for a run.
pub(super) struct Chains {
    /// Chains to be looked at.
    pub(super) left: u64,
    /// Chains that are not for the run.
    pub(super) skipped: u64,
}

impl Chains {
    /// Index of the first chain.
    pub(super) fn first(&self) -> usize {
        self.left.trailing_zeros() as usize
    }

    /// Skips the first chain.
    pub(super) fn skip_first(&mut self) {
        let rest = self.left & self.left.wrapping_sub(1);
        self.skipped |= self.left ^ rest;
        self.left = rest;
    }

    /// Skips all chains but those.
    pub(super) fn skip_all_but(&mut self, chains: u64) {
        self.skipped |= self.left & !chains;
        self.left &= chains;
    }
}

/// Calls `add` for each chain, up to the first that is not added; returns that and those after it.
#[inline(always)]
pub(super) fn add_all(chains: u64, mut add: impl FnMut(usize) -> Option<()>) -> u64 {
    let mut left = chains;
    while left != 0 {
        if add(left.trailing_zeros() as usize).is_none() {
            return left;
        }
        left &= left.wrapping_sub(1);
    }
    0
}

/// The bit of a chain.
#[inline]
pub(super) fn bit(index: usize) -> u64 {
    1_u64.wrapping_shl(u32::try_from(index).unwrap_or(0))
}

/// The first `count` bits of a word that are set.
#[inline]
pub(super) fn first_bits(bits: u64, count: usize) -> u64 {
    let more = (bits.count_ones() as usize).saturating_sub(count);
    if more == 0 { bits } else { without_highest(bits, more) }
}

/// A word without its `count` highest bits that are set.
#[cold]
pub(super) fn without_highest(mut bits: u64, count: usize) -> u64 {
    for _ in 0..count {
        bits &= !bits.checked_ilog2().map_or(0, |highest| 1_u64.wrapping_shl(highest));
    }
    bits
}

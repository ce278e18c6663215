//! A descriptor, copied out of the table where the guest may be writing it.

use luge_memory::SharedArray;
use std::sync::atomic::Ordering::Relaxed;

/// Size of a descriptor in a table.
pub(crate) const ENTRY_BYTES: u32 = 16;

/// A descriptor table, two words to an entry: the ring's own, or an indirect one.
pub(crate) type Table = SharedArray<u64>;

/// The word of a table where entry `index` starts.
#[inline]
pub(crate) const fn word(index: u16) -> u32 {
    (index as u32).wrapping_mul(2)
}

/// A copy of a descriptor (clause 2.7.5).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawDescriptor {
    pub(crate) address: u64,
    pub(crate) len: u32,
    flags: u16,
    pub(crate) next: u16,
}

impl RawDescriptor {
    /// Entry `index` of a table, of which every word is loaded once; none past its end.
    ///
    /// Relaxed: that the driver has written it is known from the load of `avail.idx` that
    /// announced the chain, which is the acquire.
    #[inline]
    pub(crate) fn load(table: &Table, index: u16) -> Option<Self> {
        table.load_each(word(index), Relaxed).map(|words| Self::of(words.map(u64::from_le)))
    }

    /// A descriptor from its two words.
    #[inline]
    pub(crate) fn of([address, rest]: [u64; 2]) -> Self {
        let [a, b, c, d, e, f, g, h] = rest.to_le_bytes();
        Self {
            address,
            len: u32::from_le_bytes([a, b, c, d]),
            flags: u16::from_le_bytes([e, f]),
            next: u16::from_le_bytes([g, h]),
        }
    }

    #[inline]
    pub(crate) fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

//! A descriptor, copied out of the table where the guest may be writing it.

use luge_memory::SharedArray;
use std::sync::atomic::Ordering::Relaxed;

/// Size of a descriptor in a table.
pub(crate) const ENTRY_BYTES: u32 = 16;

/// A descriptor table, two words to an entry: the ring's own, or an indirect one.
pub(crate) type Table = SharedArray<[u64; 2]>;

/// A copy of a descriptor (clause 2.7.5): its address, and its length, flags and next index.
/// Kept as the words it was loaded as, and taken apart where it is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawDescriptor {
    pub(crate) address: u64,
    rest: u64,
}

impl RawDescriptor {
    /// Placeholder where no descriptor was loaded yet.
    pub(crate) const NONE: Self = Self { address: 0, rest: 0 };

    /// Entry `index` of a table, of which every word is loaded once; none past its end.
    ///
    /// Relaxed: that the driver has written it is known from the load of `avail.idx` that
    /// announced the chain, which is the acquire.
    #[inline]
    pub(crate) fn load(table: &Table, index: u16) -> Option<Self> {
        table.get(index.into(), Relaxed).map(Self::of)
    }

    /// A descriptor from its two words, as they lie in memory.
    #[inline]
    pub(crate) fn of([address, rest]: [u64; 2]) -> Self {
        Self { address: u64::from_le(address), rest: u64::from_le(rest) }
    }

    /// Length in bytes.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        (self.rest & 0xffff_ffff) as u32
    }

    /// The flags.
    #[inline]
    pub(crate) fn flags(&self) -> u16 {
        (self.rest >> 32 & 0xffff) as u16
    }

    /// Index of the next descriptor; it counts only with the flag `NEXT`.
    #[inline]
    pub(crate) fn next(&self) -> u16 {
        (self.rest >> 48) as u16
    }

    /// Whether the descriptor has exactly these flags, and this length.
    #[inline]
    pub(crate) fn is_exactly(&self, flags: u16, len: u32) -> bool {
        self.rest & 0xffff_ffff_ffff == u64::from(flags) << 32 | u64::from(len)
    }

    /// Whether those of its flags that `which` names are exactly `flags`, and its length is less than 2 GiB: then data is
    /// less than 4 GiB together with header and response.
    #[inline]
    pub(crate) fn has_flags(&self, which: u16, flags: u16) -> bool {
        const TWO_GIB: u64 = 1 << 31;
        self.rest & (u64::from(which) << 32 | TWO_GIB) == u64::from(flags) << 32
    }

    /// Whether the descriptor has this flag.
    #[inline]
    pub(crate) fn is(&self, flag: u16) -> bool {
        self.flags() & flag != 0
    }
}

//! Work of a core, in one unit for everything that costs it time.
//!
//! A unit is about a nanosecond of a core whose caches miss as those of a busy one do. Costs are fixed
//! numbers and not measured times: shares then depend on what guests ask for, and tests can count them.

/// An amount of work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(transparent)]
pub struct Work(pub u32);

impl Work {
    /// A look at a ring that has nothing.
    pub const LOOK: Self = Self(8);

    /// A request in one descriptor chain that takes the fast walk.
    pub const REQUEST: Self = Self(32);

    /// A descriptor of a chain that takes the general walk: a quarter of a cache line, which may be missing,
    /// and the look-up of an address.
    pub const DESCRIPTOR: Self = Self(32);

    /// Bytes of a request's data that are one unit: as many as a core copies in a nanosecond. Data that an SSD
    /// moves counts as much, because its transfers are shared, too.
    const BYTES: u64 = 8;
    const BYTES_MAX: u64 = 1 << 20;

    /// Work that one tenant may do before the next one has its turn: a batch of short requests.
    pub const QUANTUM: Self = Self(6 << 10);

    /// Work after which a turn ends, although tenants may be left: those with little work wait for the end of a turn.
    pub const TURN: Self = Self::QUANTUM;

    /// Work of `count` things that cost `self` each.
    #[inline]
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        Self(self.0.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)))
    }

    /// Work of moving `bytes` bytes of data. No more than of 1 MiB: longer requests go on in later turns, which have
    /// bounds of their own.
    #[inline]
    #[must_use]
    pub fn of_bytes(bytes: u64) -> Self {
        let most = Self::BYTES_MAX / Self::BYTES;
        Self(u32::try_from((bytes / Self::BYTES).min(most)).unwrap_or(u32::MAX))
    }

    /// Both amounts together.
    #[inline]
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }

    /// Number of things that cost `one` each for which this is enough: at least one.
    #[inline]
    #[must_use]
    pub fn number_of(self, one: Self) -> usize {
        usize::try_from(self.0 / one.0.max(1)).unwrap_or(usize::MAX).max(1)
    }
}

impl From<Work> for i64 {
    #[inline]
    fn from(work: Work) -> Self {
        work.0.into()
    }
}

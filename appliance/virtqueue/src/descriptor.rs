//! A descriptor, copied out of the table where the guest may be writing it.

use luge_memory::SharedTable;

/// Size of a descriptor in a table.
pub(crate) const ENTRY_BYTES: u32 = 16;

/// A descriptor table: the ring's own, or an indirect one.
pub(crate) type Table = SharedTable<{ ENTRY_BYTES as usize }>;

/// A copy of a descriptor (clause 2.7.5).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawDescriptor {
    pub(crate) address: u64,
    pub(crate) len: u32,
    flags: u16,
    pub(crate) next: u16,
}

impl RawDescriptor {
    /// Entry `index` of a table, of which every byte is loaded once; none past its end.
    ///
    /// That the driver has written it is known from the load of `avail.idx` that announced the
    /// chain, which is the acquire.
    #[inline]
    pub(crate) fn load(table: &Table, index: u16) -> Option<Self> {
        table.load(index.into()).map(Self::of)
    }

    /// A descriptor from its bytes.
    #[inline]
    pub(crate) fn of(bytes: [u8; ENTRY_BYTES as usize]) -> Self {
        let [address @ .., a, b, c, d, e, f, g, h] = bytes;
        Self {
            address: u64::from_le_bytes(address),
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

//! An indirect table (virtio 1.3, clause 2.7.5.3), wherever it lies in guest memory.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::chain::Fault;
use crate::descriptor::{ENTRY_BYTES, RawDescriptor, Table};
use luge_memory::{GuestAddress, Lookup};

/// An indirect table.
pub(crate) enum Indirect {
    /// An aligned table in one region, as an array of words.
    Whole(Table),
    /// Address and number of entries of any other table, which may be in no memory at all.
    Scattered(GuestAddress, u32),
}

impl Indirect {
    /// Finds the table that a descriptor refers to. Bytes after its last whole entry do not count, and the
    /// descriptor's write flag means nothing (clause 2.7.5.3.2).
    pub(crate) fn find(lookup: &mut Lookup<'_>, reference: &RawDescriptor) -> Self {
        let (at, entries) = (GuestAddress(reference.address), reference.len() / ENTRY_BYTES);
        // SAFETY: whoever made the queue keeps its memory while spans are in use.
        let whole = unsafe { lookup.whole(at, entries.wrapping_mul(ENTRY_BYTES)) };
        whole.and_then(Table::new).map_or(Self::Scattered(at, entries), Self::Whole)
    }

    /// Loads entry `index`, each word once.
    #[inline]
    pub(crate) fn load(&self, lookup: &mut Lookup<'_>, index: u16) -> Result<RawDescriptor, Fault> {
        match self {
            // An empty table has no first entry.
            Self::Scattered(_, 0) => Err(Fault::Table),
            Self::Whole(table) => RawDescriptor::load(table, index).ok_or(Fault::Index),
            &Self::Scattered(at, entries) if u32::from(index) < entries => {
                let bytes = gather(lookup, at, index).ok_or(Fault::Table)?;
                Ok(RawDescriptor::of(zerocopy::transmute!(bytes)))
            }
            Self::Scattered(..) => Err(Fault::Index),
        }
    }
}

/// Copies an entry of a table that may lie across regions, at any alignment.
#[cold]
fn gather(lookup: &mut Lookup<'_>, table: GuestAddress, index: u16) -> Option<[u8; ENTRY_BYTES as usize]> {
    let mut at = table.checked_add(u64::from(index).wrapping_mul(ENTRY_BYTES.into()))?;
    let mut bytes = [0; ENTRY_BYTES as usize];
    let mut to = bytes.as_mut_slice();
    while !to.is_empty() {
        let len = u32::try_from(to.len()).ok()?;
        // SAFETY: the span is used at once.
        let span = unsafe { lookup.span(at, len) }?;
        let copied = span.read(to);
        to = to.get_mut(copied..)?;
        at = at.checked_add(copied as u64)?;
    }
    Some(bytes)
}

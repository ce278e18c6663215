//! Addresses of a split ring's areas in guest memory, and the areas once they are mapped.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::descriptor::Table;
use luge_memory::{GuestAddress, GuestMemory, SharedArray, SharedRing, Span, Word};
use luge_spec::virtio::split::{
    AVAILABLE_ALIGN, DESCRIPTORS_ALIGN, SIZE_MAX, USED_ALIGN, available_bytes, descriptors_bytes, used_bytes,
};
use std::sync::atomic::Ordering::Release;
use thiserror::Error;

/// Half-word of the available and of the used ring where the index is.
pub(crate) const IDX: u32 = 1;

/// Bytes of the available and of the used ring before their entries: `flags` and `idx`.
const ENTRIES_OFFSET: u32 = 4;

/// Reason why a ring cannot be where the driver says.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RingError {
    /// Not a power of two, or too large.
    #[error("a ring of {0} entries is not possible: the size is a power of two, at most 32768")]
    Size(u32),
    /// Not aligned as clause 2.7 asks.
    #[error("the {area} at guest address {at} is not aligned")]
    Alignment {
        /// Name of the area.
        area: &'static str,
        /// Address that the driver has given.
        at: GuestAddress,
    },
    /// Not, or not in one piece, in the guest's memory.
    #[error("the {area} at guest address {at} is not inside one region of the guest's memory")]
    Memory {
        /// Name of the area.
        area: &'static str,
        /// Address that the driver has given.
        at: GuestAddress,
    },
}

/// The number of entries of a ring: a power of two, at most 32768.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSize(u16);

impl QueueSize {
    /// Checks a size that a driver asks for.
    ///
    /// # Errors
    /// [`RingError::Size`].
    pub fn new(size: u32) -> Result<Self, RingError> {
        match u16::try_from(size) {
            Ok(entries) if entries.is_power_of_two() && entries <= SIZE_MAX => Ok(Self(entries)),
            _ => Err(RingError::Size(size)),
        }
    }

    /// The number of entries.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// An index as one below the size.
    #[inline]
    pub(crate) const fn within(self, index: u16) -> u16 {
        // The size is a power of two, so never zero.
        index & self.0.wrapping_sub(1)
    }
}

/// Addresses of a ring in guest memory, as the driver has given them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLayout {
    /// Number of entries.
    pub size: QueueSize,
    /// The descriptor table.
    pub descriptors: GuestAddress,
    /// The available ring: the driver's.
    pub available: GuestAddress,
    /// The used ring: the device's.
    pub used: GuestAddress,
}

/// Mapped areas of a ring. Addresses, like the spans they were made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rings {
    /// The descriptor table.
    pub(crate) descriptors: Table,
    /// `flags`, `idx`, the heads, `used_event`.
    pub(crate) available: SharedArray<u16>,
    /// The heads alone.
    pub(crate) heads: SharedRing<u16>,
    /// The used ring as halves: `flags`, `idx`, and `avail_event` at the end.
    pub(crate) used: SharedArray<u16>,
    /// The elements of the used ring: a head and a length each.
    pub(crate) elements: SharedRing<[u32; 2]>,
}

impl Rings {
    /// Maps and checks the areas.
    ///
    /// # Safety
    /// The caller keeps `memory` until it no longer uses the rings.
    pub(crate) unsafe fn map(layout: &RingLayout, memory: &GuestMemory) -> Result<Self, RingError> {
        let size = layout.size.get();
        let area = |area, at: GuestAddress, len, align| {
            if !at.0.is_multiple_of(align) {
                return Err(RingError::Alignment { area, at });
            }
            // SAFETY: the caller's promise.
            let span = unsafe { memory.whole_span(at, len) };
            span.map(|span| Area { span, area, at }).ok_or(RingError::Memory { area, at })
        };
        let descriptors =
            area("descriptor table", layout.descriptors, descriptors_bytes(size), DESCRIPTORS_ALIGN)?;
        let available = area("available ring", layout.available, available_bytes(size), AVAILABLE_ALIGN)?;
        let used = area("used ring", layout.used, used_bytes(size), USED_ALIGN)?;
        Ok(Self {
            descriptors: descriptors.array()?,
            available: available.array()?,
            heads: available.entries(layout.size)?,
            used: used.array()?,
            elements: used.entries(layout.size)?,
        })
    }
}

impl Rings {
    /// Shows the driver the used elements up to this index.
    #[inline]
    pub(crate) fn set_used_index(&self, index: u16) {
        // Release: whoever sees the index sees the elements and the data before it.
        self.used.store(IDX, index.to_le(), Release);
    }
}

/// A checked area.
struct Area {
    span: Span,
    area: &'static str,
    at: GuestAddress,
}

impl Area {
    /// The area as words. The region's offset in its file can still spoil the alignment here.
    fn array<T: Word>(&self) -> Result<SharedArray<T>, RingError> {
        self.aligned(SharedArray::new(self.span))
    }

    /// The entries of an available or used ring.
    fn entries<T: Word>(&self, size: QueueSize) -> Result<SharedRing<T>, RingError> {
        let (_, entries) = self.span.split_at(ENTRIES_OFFSET);
        let words = self.aligned(SharedArray::new(entries))?;
        self.aligned(words.slice(0, size.get().into()).and_then(SharedRing::new))
    }

    /// # Errors
    /// [`RingError::Alignment`] if there are no words.
    fn aligned<T>(&self, words: Option<T>) -> Result<T, RingError> {
        words.ok_or(RingError::Alignment { area: self.area, at: self.at })
    }
}

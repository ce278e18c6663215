//! Scatter-gather lists. Base 2.0, clause 4.1.2.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A descriptor of a scatter-gather list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SglDescriptor {
    /// Address of the data, or of a segment of descriptors. Reserved in a bit bucket.
    pub address: u64,
    /// Length in bytes.
    pub length: u32,
    /// Reserved.
    pub reserved: [u8; 3],
    /// Type in bits 4 to 7, subtype in bits 0 to 3.
    pub identifier: u8,
}

const _: () = assert!(size_of::<SglDescriptor>() == 16);

/// Type of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct SglType(pub u8);

impl SglType {
    /// Data.
    pub const DATA_BLOCK: Self = Self(0);
    /// Data of a read that is not transferred.
    pub const BIT_BUCKET: Self = Self(1);
    /// A segment of descriptors, the last of which is of another segment.
    pub const SEGMENT: Self = Self(2);
    /// The last segment of descriptors.
    pub const LAST_SEGMENT: Self = Self(3);
}

impl SglDescriptor {
    /// Length of a descriptor in bytes.
    pub const BYTES: u32 = 16;

    /// A descriptor with an address.
    #[must_use]
    pub const fn new(kind: SglType, address: u64, length: u32) -> Self {
        Self { address, length, reserved: [0; 3], identifier: kind.0 << 4 }
    }

    /// Type of the descriptor.
    #[must_use]
    pub const fn kind(self) -> SglType {
        SglType(self.identifier >> 4)
    }

    /// Subtype: zero where the address is one, and no offset.
    #[must_use]
    pub const fn subtype(self) -> u8 {
        self.identifier & 0xf
    }

    /// The descriptor as two words of memory.
    #[must_use]
    pub const fn to_words(self) -> [u64; 2] {
        zerocopy::transmute!(self)
    }

    /// The descriptor in two words of memory.
    #[must_use]
    pub const fn from_words(words: [u64; 2]) -> Self {
        zerocopy::transmute!(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_consists_of_the_words_in_the_specification() {
        let descriptor = SglDescriptor::new(SglType::LAST_SEGMENT, 0x1234_5678, 0x40);
        assert_eq!(descriptor.to_words(), [0x1234_5678, 0x3000_0000_0000_0040]);
        assert_eq!(SglDescriptor::from_words([1, 0x1f00_0000_0000_0002]).kind(), SglType::BIT_BUCKET);
        assert_eq!(SglDescriptor::from_words([1, 0x1f00_0000_0000_0002]).subtype(), 0xf);
    }
}

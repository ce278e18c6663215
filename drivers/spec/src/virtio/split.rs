//! The split ring (virtio 1.3, clause 2.7): three areas of shared memory.
//!
//! ```text
//! descriptor table   16 bytes each: address u64, length u32, flags u16, next u16
//! available ring     flags u16, idx u16, head u16 * size, used_event u16
//! used ring          flags u16, idx u16, (id u32, length u32) * size, avail_event u16
//! ```

use crate::bits::bits;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Most entries of a ring.
pub const SIZE_MAX: u16 = 32768;
/// Alignment of a descriptor table in bytes.
pub const DESCRIPTORS_ALIGN: u64 = 16;
/// Alignment of an available ring in bytes.
pub const AVAILABLE_ALIGN: u64 = 2;
/// Alignment of a used ring in bytes.
pub const USED_ALIGN: u64 = 4;

/// A descriptor: a buffer in guest memory and the link to the next one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Descriptor {
    /// Guest address.
    pub address: U64,
    /// Length in bytes.
    pub len: U32,
    /// Flags.
    pub flags: DescriptorFlags,
    /// Index of the next descriptor of the chain, with [`DescriptorFlags::NEXT`].
    pub next: U16,
}

const _: () = assert!(size_of::<Descriptor>() == 16);

bits! {
    /// Flags of a descriptor. Unknown bits are legal and ignored.
    DescriptorFlags: U16 = u16 {
        /// The chain continues at `next`.
        NEXT = 1;
        /// The device writes the buffer; without the flag it reads it.
        WRITE = 2;
        /// The buffer contains a table of descriptors.
        INDIRECT = 4;
    }
}

/// Flag of the available ring: the driver wants no interrupts. Only without `EVENT_IDX`.
pub const AVAILABLE_NO_INTERRUPT: u16 = 1;
/// Flag of the used ring: the device wants no kicks. Only without `EVENT_IDX`.
pub const USED_NO_NOTIFY: u16 = 1;

/// Bytes of a descriptor table.
#[must_use]
pub const fn descriptors_bytes(size: u16) -> u32 {
    size as u32 * 16
}

/// Bytes of an available ring.
#[must_use]
pub const fn available_bytes(size: u16) -> u32 {
    size as u32 * 2 + 6
}

/// Bytes of a used ring.
#[must_use]
pub const fn used_bytes(size: u16) -> u32 {
    size as u32 * 8 + 6
}

/// Whether an index that moved from `old` to `new` has passed `event`, so that the other side wants
/// a notification (clause 2.7.10, `vring_need_event`).
#[must_use]
pub const fn passed_event(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_passed_by_the_step_that_makes_its_entry_and_by_no_other() {
        for start in [0, 1, 0x7fff, 0xfffe, 0xffff_u16] {
            let at = |n: u16| start.wrapping_add(n);
            assert!(!passed_event(at(3), at(0), at(3)));
            assert!(passed_event(at(3), at(0), at(4)) && passed_event(at(3), at(3), at(4)));
            assert!(!passed_event(at(3), at(4), at(9)) && !passed_event(at(3), at(2), at(2)));
        }
    }
}

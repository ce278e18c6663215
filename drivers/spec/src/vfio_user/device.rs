//! DEVICE_GET_INFO: numbers of regions and of kinds of interrupts.

use crate::bits::bits;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Payload of DEVICE_GET_INFO, and of its reply.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DeviceInfo {
    /// Length of the longest reply that is wanted; in a reply, of the whole one. In bytes.
    pub argsz: U32,
    /// Properties of the function.
    pub flags: DeviceFlags,
    /// Number of regions.
    pub regions: U32,
    /// Number of kinds of interrupts.
    pub interrupts: U32,
}

const _: () = assert!(size_of::<DeviceInfo>() == 16);

bits! {
    /// Properties of a function. Unknown bits are legal and ignored.
    DeviceFlags: U32 = u32 {
        /// DEVICE_RESET is understood.
        RESET = 1 << 0;
        /// The function is a PCI function.
        PCI = 1 << 1;
    }
}

//! Interrupts of a function: DEVICE_GET_IRQ_INFO and DEVICE_SET_IRQS.

use crate::bits::bits;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Kind of interrupts of a PCI function.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct InterruptIndex(pub U32);

impl InterruptIndex {
    /// The interrupt line.
    pub const INTX: Self = Self(U32::new(0));
    /// MSI.
    pub const MSI: Self = Self(U32::new(1));
    /// MSI-X.
    pub const MSIX: Self = Self(U32::new(2));
    /// Errors of PCI Express.
    pub const ERROR: Self = Self(U32::new(3));
    /// Request to give the function back.
    pub const REQUEST: Self = Self(U32::new(4));
    /// Number of kinds of interrupts of a PCI function.
    pub const COUNT: u32 = 5;
}

/// Payload of DEVICE_GET_IRQ_INFO, and of its reply.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct InterruptInfo {
    /// Length of the longest reply that is wanted; in a reply, of the whole one. In bytes.
    pub argsz: U32,
    /// Properties of the interrupts.
    pub flags: InterruptFlags,
    /// Kind of interrupts.
    pub index: InterruptIndex,
    /// Number of interrupts of this kind.
    pub count: U32,
}

const _: () = assert!(size_of::<InterruptInfo>() == 16);

bits! {
    /// Properties of a kind of interrupts. Unknown bits are legal and ignored.
    InterruptFlags: U32 = u32 {
        /// Interrupts signal eventfds.
        EVENTFD = 1 << 0;
        /// Interrupts can be masked by DEVICE_SET_IRQS.
        MASKABLE = 1 << 1;
        /// Interrupts are masked when they are signalled.
        AUTOMASKED = 1 << 2;
        /// Interrupts are set up all at once: more are only possible after all were switched off.
        NORESIZE = 1 << 3;
    }
}

/// Payload of DEVICE_SET_IRQS. Its reply has none. Booleans, a byte each, follow with
/// [`SetInterruptsFlags::DATA_BOOL`]; file descriptors come with [`SetInterruptsFlags::DATA_EVENTFD`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SetInterrupts {
    /// Length of the payload in bytes.
    pub argsz: U32,
    /// Kind of data, and action.
    pub flags: SetInterruptsFlags,
    /// Kind of interrupts.
    pub index: InterruptIndex,
    /// First interrupt.
    pub start: U32,
    /// Number of interrupts. Zero, without data, switches all of the kind off.
    pub count: U32,
}

const _: () = assert!(size_of::<SetInterrupts>() == 20);

bits! {
    /// Kind of data, and action, of a DEVICE_SET_IRQS: one bit of each.
    SetInterruptsFlags: U32 = u32 {
        /// No data.
        DATA_NONE = 1 << 0;
        /// A byte for each interrupt: zero where nothing is to be done.
        DATA_BOOL = 1 << 1;
        /// File descriptors.
        DATA_EVENTFD = 1 << 2;
        /// Masks the interrupts.
        ACTION_MASK = 1 << 3;
        /// Unmasks the interrupts.
        ACTION_UNMASK = 1 << 4;
        /// Triggers the interrupts; with file descriptors, sets what they signal.
        ACTION_TRIGGER = 1 << 5;
        /// Bits of data.
        DATA_MASK = 0x7;
        /// Bits of actions.
        ACTION_MASK_BITS = 0x38;
    }
}

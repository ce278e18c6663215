//! Interrupts of a function: DEVICE_GET_IRQ_INFO and DEVICE_SET_IRQS.

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

/// Properties of a kind of interrupts. Unknown bits are legal and ignored.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct InterruptFlags(pub U32);

impl InterruptFlags {
    /// Interrupts signal eventfds.
    pub const EVENTFD: u32 = 1 << 0;
    /// Interrupts can be masked by DEVICE_SET_IRQS.
    pub const MASKABLE: u32 = 1 << 1;
    /// Interrupts are masked when they are signalled.
    pub const AUTOMASKED: u32 = 1 << 2;
    /// Interrupts are set up all at once: more are only possible after all were switched off.
    pub const NORESIZE: u32 = 1 << 3;

    /// Whether all bits of `flags` are set.
    #[must_use]
    pub const fn contains(self, flags: u32) -> bool {
        self.0.get() & flags == flags
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

/// Kind of data, and action, of a DEVICE_SET_IRQS: one bit of each.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct SetInterruptsFlags(pub U32);

impl SetInterruptsFlags {
    /// No data.
    pub const DATA_NONE: u32 = 1 << 0;
    /// A byte for each interrupt: zero where nothing is to be done.
    pub const DATA_BOOL: u32 = 1 << 1;
    /// File descriptors.
    pub const DATA_EVENTFD: u32 = 1 << 2;
    /// Masks the interrupts.
    pub const ACTION_MASK: u32 = 1 << 3;
    /// Unmasks the interrupts.
    pub const ACTION_UNMASK: u32 = 1 << 4;
    /// Triggers the interrupts; with file descriptors, sets what they signal.
    pub const ACTION_TRIGGER: u32 = 1 << 5;
    /// Bits of data.
    pub const DATA_MASK: u32 = 0x7;
    /// Bits of actions.
    pub const ACTION_MASK_BITS: u32 = 0x38;
}

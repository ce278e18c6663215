//! Guest, driver and I/O virtual addresses, each a type of its own.

use std::fmt;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The address `bytes` further on, unless that leaves 64 bits.
            #[must_use]
            pub fn checked_add(self, bytes: u64) -> Option<Self> {
                self.0.checked_add(bytes).map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address! {
/// Guest physical address, as descriptors carry it. Not to be trusted
    /// until [`crate::GuestMemory`] has turned it into a checked span.
    GuestAddress
}

address! {
/// Virtual address in the vhost-user front end (the VMM), as
    /// `VHOST_USER_SET_VRING_ADDR` carries it. Not to be trusted either.
    DriverAddress
}

address! {
/// I/O virtual address: what an SSD uses, translated by the IOMMU.
    Iova
}

impl Iova {
    /// Base of addresses of memory that no IOMMU maps. They are beyond the width of any IOMMU.
    pub(crate) const UNMAPPED: Self = Self(1 << 63);
}

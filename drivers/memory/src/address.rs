//! Addresses. Each kind is a type of its own, so that one is never taken for another.

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
    /// An address in a guest's physical address space, as descriptors carry it. An
    /// allegation until [`crate::GuestMemory`] has turned it into a checked span.
    GuestAddress
}

address! {
    /// An address in the virtual address space of the vhost-user front end (the VMM), as
    /// `VHOST_USER_SET_VRING_ADDR` carries it. An allegation too.
    DriverAddress
}

address! {
    /// An address as an SSD sees it, behind the IOMMU.
    Iova
}

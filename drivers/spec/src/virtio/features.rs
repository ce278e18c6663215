//! Feature bits. The driver accepts a subset of those that the device offers.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of feature bits (virtio 1.3, clauses 2.2, 5.2.3, 5.6.3 and 6; bit 30 is vhost-user's).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Features(pub u64);

impl Features {
    /// `VIRTIO_BLK_F_SIZE_MAX`: `size_max` is valid.
    pub const BLK_SIZE_MAX: Self = Self::bit(1);
    /// `VIRTIO_BLK_F_SEG_MAX`: `seg_max` is valid.
    pub const BLK_SEG_MAX: Self = Self::bit(2);
    /// `VIRTIO_BLK_F_RO`: the device is read-only.
    pub const BLK_RO: Self = Self::bit(5);
    /// `VIRTIO_BLK_F_BLK_SIZE`: `blk_size` is valid.
    pub const BLK_BLK_SIZE: Self = Self::bit(6);
    /// `VIRTIO_BLK_F_FLUSH`: the cache may be volatile, and there is a flush command.
    pub const BLK_FLUSH: Self = Self::bit(9);
    /// `VIRTIO_BLK_F_TOPOLOGY`: the fields from `physical_block_exp` to `opt_io_size` are valid.
    pub const BLK_TOPOLOGY: Self = Self::bit(10);
    /// `VIRTIO_BLK_F_MQ`: `num_queues` is valid.
    pub const BLK_MQ: Self = Self::bit(12);
    /// `VIRTIO_BLK_F_DISCARD`: there is a discard command.
    pub const BLK_DISCARD: Self = Self::bit(13);
    /// `VIRTIO_BLK_F_WRITE_ZEROES`: there is a write-zeroes command.
    pub const BLK_WRITE_ZEROES: Self = Self::bit(14);
    /// `VIRTIO_SCSI_F_HOTPLUG`: LUNs may come and go, which events tell.
    pub const SCSI_HOTPLUG: Self = Self::bit(1);
    /// `VIRTIO_SCSI_F_CHANGE`: parameters of LUNs may change, which events tell.
    pub const SCSI_CHANGE: Self = Self::bit(2);
    /// `VIRTIO_F_INDIRECT_DESC`: a descriptor may refer to a table of descriptors.
    pub const RING_INDIRECT: Self = Self::bit(28);
    /// `VIRTIO_F_EVENT_IDX`: each side sets the index at which it wants the next notification.
    pub const RING_EVENT_IDX: Self = Self::bit(29);
    /// `VHOST_USER_F_PROTOCOL_FEATURES`: vhost-user's own features can be negotiated.
    pub const VHOST_PROTOCOL_FEATURES: Self = Self::bit(30);
    /// `VIRTIO_F_VERSION_1`: not a legacy device.
    pub const VERSION_1: Self = Self::bit(32);

    const fn bit(bit: u32) -> Self {
        Self(1 << bit)
    }

    /// Whether the set contains all of `other`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds `other` if `condition` holds.
    #[must_use]
    pub const fn with_if(self, condition: bool, other: Self) -> Self {
        if condition { Self(self.0 | other.0) } else { self }
    }
}

impl BitOr for Features {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Features {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Features({:#x})", self.0)
    }
}

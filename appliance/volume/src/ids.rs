//! Names of the parts of a core's graph.

use luge_block::Tag;

/// A channel of a core's graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct ChannelId(pub(crate) u16);

/// A node of a core's graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct NodeId(pub(crate) u16);

/// A volume of a core's graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct VolumeId(pub(crate) u16);

impl VolumeId {
    /// Volume of a request.
    #[must_use]
    pub const fn of(tag: Tag) -> Self {
        Self(tag.volume())
    }
}

/// Number of a tenant on one core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct TenantNumber(pub u16);

impl TenantNumber {
    /// The tenant's place in a list.
    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0.into()
    }
}

/// Base of a volume on one core: the volume is an extent of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// A device, through its channel.
    Channel(ChannelId),
    /// A composite, through its node.
    Node(NodeId),
}

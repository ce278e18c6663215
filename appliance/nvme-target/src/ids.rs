//! Identifiers of queues, commands and namespaces.

use std::fmt;

/// QID: identifier of a submission or completion queue; zero for those of admin commands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct QueueId(pub u16);

impl QueueId {
    /// The admin queues.
    pub const ADMIN: Self = Self(0);
}

/// CID: identifier of a command, chosen by the host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct CommandId(pub u16);

/// NSID: identifier of a namespace; zero for none.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct NamespaceId(pub u32);

impl NamespaceId {
    /// All namespaces.
    pub const ALL: Self = Self(u32::MAX);
}

impl fmt::Display for QueueId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Display for NamespaceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

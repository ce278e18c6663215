//! Tenants: the owners of rings, among whom a core shares its time.

use luge_memory::{GuestMemory, MemoryId};
use std::fmt;
use std::sync::Arc;

/// Owner of rings. All rings of a tenant together get one share of a core, however many they are.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Tenant {
    /// An owner whom the operator has named.
    Owner(Arc<str>),
    /// All front ends that share one memory file, as those of a VM do.
    Memory(MemoryId),
    /// Rings of one endpoint, whose front end has no memory file yet.
    Endpoint(Arc<str>),
}

impl Tenant {
    /// Tenant of a front end: the owner that the operator has named, else the memory file that it shares, else its
    /// endpoint.
    #[must_use]
    pub fn of(owner: Option<&Arc<str>>, memory: &GuestMemory, endpoint: &str) -> Self {
        match (owner, memory.memory_id()) {
            (Some(owner), _) => Self::Owner(owner.clone()),
            (None, Some(memory)) => Self::Memory(memory),
            (None, None) => Self::Endpoint(endpoint.into()),
        }
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(name) => write!(out, "{name}"),
            Self::Memory(MemoryId(id)) => write!(out, "guest memory {id}"),
            Self::Endpoint(name) => write!(out, "endpoint {name}"),
        }
    }
}

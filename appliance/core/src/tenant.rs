//! Tenants: the owners of rings, among whom a core shares its time.

use std::fmt;
use std::sync::Arc;

/// Owner of rings. All rings of a tenant together get one share of a core, however many they are.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Tenant {
    /// An owner whom the operator has named.
    Owner(Arc<str>),
    /// All front ends that share one memory file, as those of a VM do: its file system's device number and its
    /// inode number.
    Memory {
        /// Device number of the file system.
        device: u64,
        /// Inode number of the file.
        inode: u64,
    },
    /// Rings of one endpoint, whose front end has no memory file yet.
    Endpoint(Arc<str>),
}

impl fmt::Display for Tenant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(name) => write!(out, "{name}"),
            Self::Memory { device, inode } => write!(out, "memory file {device:x}:{inode}"),
            Self::Endpoint(name) => write!(out, "endpoint {name}"),
        }
    }
}

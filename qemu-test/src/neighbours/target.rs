//! Contract of neighbours, and the sockets that they get.

use crate::error::TestError;
use std::path::PathBuf;

/// Kind of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskKind {
    /// No storage: requests end at once.
    Null,
    /// Memory of the server.
    Memory,
}

/// Sockets that a neighbour may use.
#[derive(Clone, Debug)]
pub struct Target {
    /// Sockets of its disks.
    pub disks: Vec<PathBuf>,
    /// Size of each disk in sectors.
    pub sectors: u64,
    /// RPC socket of the server.
    pub rpc: PathBuf,
}

/// A tenant beside the victim.
pub trait Neighbour: Sync {
    /// Name in tables.
    fn name(&self) -> String;

    /// Number of disks that it needs.
    fn disks(&self) -> u32 {
        1
    }

    /// Kind of its disks beside a victim with a disk of `victim`'s kind.
    fn disk_kind(&self, victim: DiskKind) -> DiskKind {
        victim
    }

    /// Connects and gets ready to act.
    ///
    /// # Errors
    /// If the server refuses it.
    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError>;
}

/// Actions of a neighbour that has settled.
pub trait Activity: Send {
    /// Acts for a moment: milliseconds to a second.
    ///
    /// # Errors
    /// If the server has cut it off.
    fn act(&mut self) -> Result<(), TestError>;
}

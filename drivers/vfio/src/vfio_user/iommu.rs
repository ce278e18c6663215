//! Memory that a server reaches: the process's `DmaSpace`, announced by DMA_MAP and DMA_UNMAP with the memory's files.
//!
//! **A server is trusted with memory.** An SSD behind an IOMMU reaches what is mapped, at the addresses that commands
//! name. A server gets descriptors of the same memory, which it may read, write and keep as it likes, also after it
//! was told to let go of it. So a server that is attached is trusted like an SSD without an IOMMU: by all guests whose
//! disks are on any SSD.
//!
//! Invariant: a lost server delays nobody, and keeps nobody from mapping memory.

use super::connection::{CallError, Connection};
use luge_memory::{Iommu, Iova, IovaRange, Mapping};
use std::io;
use std::sync::Arc;

/// IOMMU in front of a server.
pub struct ServerIommu(pub Arc<Connection>);

impl ServerIommu {
    /// Result for a caller: nothing can be mapped for a server that is lost, and nothing is left to be unmapped. The
    /// memory that it still has is that of the file, which nobody else gets.
    fn done(&self, outcome: Result<(), CallError>) -> io::Result<()> {
        match outcome {
            Err(CallError::Ended(_)) => Ok(()),
            Err(error @ CallError::Refused { .. }) => Err(error.about(self.0.name())),
            Ok(()) => Ok(()),
        }
    }
}

impl Iommu for ServerIommu {
    fn usable(&self) -> io::Result<Vec<IovaRange>> {
        Ok(vec![IovaRange { first: 0, last: u64::MAX }])
    }

    fn map(&self, iova: Iova, memory: &Mapping) -> io::Result<()> {
        self.done(self.0.map(iova, memory))
    }

    fn unmap(&self, iova: Iova, len: u64) -> io::Result<()> {
        self.done(self.0.unmap(iova, len))
    }
}

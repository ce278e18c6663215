//! PCI function of a vfio-user server.
//!
//! Invariants
//! - The function accesses no memory before its driver allows it.
//! - Memory access is reported as taken away only when the server has said so, or has closed its end.
//! - Closing the function takes memory access away and detaches the IOMMU; dropping it does the same.

use super::bar::Bar;
use super::connection::{CallError, Connection};
use crate::config::ConfigSpace;
use luge_memory::{DmaSpace, Iommu, MemoryAccess, NumaNode, PciFunction, PciId, Span};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// Function of a server.
pub struct ServerFunction {
    pub connection: Arc<Connection>,
    pub id: PciId,
    pub vectors: u16,
    pub resets: Resets,
    pub bar: Bar,
    pub attached: Attached,
}

/// Whether the server resets the function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Resets {
    Possible,
    Impossible,
}

/// IOMMU of the function, attached to the address space until it is dropped.
pub struct Attached {
    space: Arc<DmaSpace>,
    iommu: Mutex<Option<Arc<dyn Iommu>>>,
}

impl Attached {
    /// Attaches an IOMMU.
    ///
    /// # Errors
    /// As [`DmaSpace::attach`].
    pub fn new(space: Arc<DmaSpace>, iommu: Arc<dyn Iommu>) -> io::Result<Self> {
        space.attach(iommu.clone())?;
        Ok(Self { space, iommu: Mutex::new(Some(iommu)) })
    }

    fn detach(&self) {
        let iommu = self.iommu.lock().unwrap_or_else(PoisonError::into_inner).take();
        iommu.iter().for_each(|iommu| self.space.detach(iommu));
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.detach();
    }
}

impl ServerFunction {
    fn config(&self) -> ConfigSpace<&Connection> {
        ConfigSpace(&self.connection)
    }

    /// Error with the name of the function.
    fn error(&self, kind: io::ErrorKind, what: impl std::fmt::Display) -> io::Error {
        io::Error::new(kind, format!("{}: {what}", self.connection.name()))
    }

    fn about(&self, error: CallError) -> io::Error {
        error.about(self.connection.name())
    }
}

impl PciFunction for ServerFunction {
    fn name(&self) -> &str {
        self.connection.name()
    }

    fn id(&self) -> PciId {
        self.id
    }

    fn read32(&self, offset: u32) -> u32 {
        self.bar.read32(offset)
    }

    fn write32(&self, offset: u32, value: u32) {
        self.bar.write32(offset, value);
    }

    fn registers(&self, offset: u32, len: u32) -> io::Result<Span> {
        let registers = self.bar.registers(offset, len);
        registers.map_err(|error| {
            self.error(
                error.kind(),
                format_args!("{len} bytes at {offset:#x} of BAR 0 are no doorbells: {error}"),
            )
        })
    }

    fn set_bus_master(&self, access: MemoryAccess) -> io::Result<()> {
        if self.connection.is_open() {
            return self.config().set_memory_access(access);
        }
        match access {
            MemoryAccess::Forbidden if self.connection.has_ended() => Ok(()),
            MemoryAccess::Forbidden => Err(self.error(
                io::ErrorKind::TimedOut,
                "the server may still access memory: end its process, so that requests in flight can end",
            )),
            MemoryAccess::Allowed => Err(self.error(io::ErrorKind::NotConnected, "the server is lost")),
        }
    }

    fn vectors(&self) -> u16 {
        self.vectors
    }

    fn enable_interrupts(&self, count: u16) -> io::Result<Vec<OwnedFd>> {
        if count > self.vectors {
            let what = format!("it has {} MSI-X vectors, not {count}", self.vectors);
            return Err(self.error(io::ErrorKind::Unsupported, what));
        }
        self.connection.disable_msix().map_err(|error| self.about(error))?;
        let route = |vector| {
            let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            self.connection.route_msix(vector, &eventfd).map_err(|error| self.about(error))?;
            Ok(eventfd)
        };
        (0..count).map(route).collect()
    }

    fn reset(&self) -> io::Result<()> {
        if self.resets == Resets::Impossible {
            return Err(self.error(io::ErrorKind::Unsupported, "the server does not reset it"));
        }
        let command = self.config().command()?;
        self.connection.reset().map_err(|error| self.about(error))?;
        self.config().set_command(command)
    }

    /// No server asks: one that ends closes the connection, which registers show.
    fn recall(&self) -> Option<&OwnedFd> {
        None
    }

    fn hand_back(&self) -> io::Result<()> {
        if self.connection.is_open() {
            // The server does the same when it sees the end of the connection.
            let _ = self.config().set_memory_access(MemoryAccess::Forbidden);
            let _ = self.connection.disable_msix();
        }
        self.connection.close();
        self.attached.detach();
        Ok(())
    }

    fn numa_node(&self) -> Option<NumaNode> {
        None
    }
}

impl Drop for ServerFunction {
    fn drop(&mut self) {
        let _ = self.hand_back();
    }
}

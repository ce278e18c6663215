//! Access of a driver to its PCI function. The driver (`nvme`) knows nothing else of the
//! hardware: the trait is implemented by VFIO, a vfio-user peer and scripted controllers of tests.

use crate::{NumaNode, Span};
use std::io;
use std::os::fd::OwnedFd;

/// A PCI function with its registers in BAR 0. Owned by one driver; closed when dropped.
///
/// Its memory accesses go through the IOMMUs of the process's [`crate::DmaSpace`].
pub trait PciFunction: Send + Sync {
    /// Name for messages: a PCI address, as in `0000:01:00.0`, or the socket of a vfio-user server.
    fn name(&self) -> &str;

    /// Vendor and device, for workarounds of a model.
    fn id(&self) -> PciId;

    /// Loads the 32-bit register at `offset` bytes in BAR 0; all ones past its end and
    /// where the function no longer answers.
    fn read32(&self, offset: u32) -> u32;

    /// Stores the 32-bit register at `offset` bytes in BAR 0; nothing past its end.
    fn write32(&self, offset: u32, value: u32);

    /// `len` bytes of BAR 0 from `offset` as memory, for doorbells, which are stored to and never loaded; lives as long
    /// as the function.
    ///
    /// # Errors
    /// If that part of the BAR does not exist or cannot be mapped.
    fn registers(&self, offset: u32, len: u32) -> io::Result<Span>;

    /// Lets the function access memory (PCI bus mastering), or no longer.
    ///
    /// # Errors
    /// The kernel's.
    fn set_bus_master(&self, access: MemoryAccess) -> io::Result<()>;

    /// Number of MSI-X vectors; zero where there are none.
    fn vectors(&self) -> u16;

    /// Routes the first `count` MSI-X vectors to new eventfds, and all others nowhere.
    ///
    /// # Errors
    /// The kernel's, or `Unsupported` if it has fewer.
    fn enable_interrupts(&self, count: u16) -> io::Result<Vec<OwnedFd>>;

    /// Resets the function (FLR or what the platform has): registers are as after power-on.
    ///
    /// # Errors
    /// The kernel's, or `Unsupported`.
    fn reset(&self) -> io::Result<()>;

    /// Eventfd that becomes readable when the host wants the function back, for an unplug or another
    /// driver, and waits for it; none where the host cannot ask.
    fn recall(&self) -> Option<&OwnedFd>;

    /// Gives the function back to the host. From then on it accesses no memory, answers with
    /// all ones and errors, and what `registers` gave is memory without a meaning.
    ///
    /// # Errors
    /// The kernel's; the function is still ours then.
    fn hand_back(&self) -> io::Result<()>;

    /// NUMA node of the function, where known.
    fn numa_node(&self) -> Option<NumaNode>;
}

/// PCI vendor and device of a function, as its configuration space says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PciId {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
}

impl std::fmt::Display for PciId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

/// Whether a function may access memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryAccess {
    /// Memory accesses are allowed.
    Allowed,
    /// Memory accesses are blocked.
    Forbidden,
}

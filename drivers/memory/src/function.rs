//! A PCI function, as its driver reaches it. The driver (`nvme`) knows nothing else of the
//! hardware; VFIO, a vfio-user peer or a scripted controller of a test is behind this.

use crate::{NumaNode, Span};
use std::io;
use std::os::fd::OwnedFd;

/// A PCI function with its registers in BAR 0. Owned by one driver; closed when dropped.
///
/// Its memory accesses go through the IOMMUs of the process's [`crate::DmaSpace`].
pub trait PciFunction: Send + Sync {
    /// Its address, as in `0000:01:00.0`, for messages.
    fn name(&self) -> &str;

    /// Its vendor and device, by which a driver knows what the model needs.
    fn id(&self) -> PciId;

    /// Loads the 32-bit register at `offset` bytes in BAR 0; all ones past its end and
    /// where the function no longer answers.
    fn read32(&self, offset: u32) -> u32;

    /// Stores the 32-bit register at `offset` bytes in BAR 0; nothing past its end.
    fn write32(&self, offset: u32, value: u32);

    /// `len` bytes of BAR 0 from `offset` as memory, for doorbells; lives as long as the function.
    ///
    /// # Errors
    /// If that part of the BAR does not exist or cannot be mapped.
    fn registers(&self, offset: u32, len: u32) -> io::Result<Span>;

    /// Lets the function access memory (PCI bus mastering), or no longer.
    ///
    /// # Errors
    /// The kernel's.
    fn set_bus_master(&self, access: MemoryAccess) -> io::Result<()>;

    /// How many MSI-X vectors it has; zero where it has none.
    fn vectors(&self) -> u16;

    /// Routes the first `count` MSI-X vectors to new eventfds, and all others nowhere.
    ///
    /// # Errors
    /// The kernel's, or `Unsupported` if it has fewer.
    fn enable_interrupts(&self, count: u16) -> io::Result<Vec<OwnedFd>>;

    /// Resets the function (FLR or what the platform has). Its registers are as after power-on.
    ///
    /// # Errors
    /// The kernel's, or `Unsupported`.
    fn reset(&self) -> io::Result<()>;

    /// What becomes readable when the host wants the function back, because it is about to be
    /// unplugged or given to another driver, and waits for that; none where it cannot ask.
    fn recall(&self) -> Option<&OwnedFd>;

    /// Gives the function back to the host. From then on it accesses no memory, answers with
    /// all ones and errors, and what `registers` gave is memory without a meaning.
    ///
    /// # Errors
    /// The kernel's; the function is still ours then.
    fn hand_back(&self) -> io::Result<()>;

    /// The memory node it is near, where known.
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
    /// It may.
    Allowed,
    /// It may not.
    Forbidden,
}

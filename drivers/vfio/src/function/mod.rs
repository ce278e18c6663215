//! PCI function that is open through VFIO: registers, configuration, interrupts, reset.
//!
//! Path: NVMe queue pair -> **registers** -> SSD.
//!
//! Invariants
//! - A function accesses no memory before its driver allows it, and none once it is handed back.
//! - Handing back: memory access off, interrupts off, registers unmapped, file closed, and with
//!   the last function of the process the IOMMU domain detached. Dropping does the same.
//!
//! Not here: who may have a function (`binding`), the memory that it reaches (`domain`), the meaning of
//! its registers (`nvme`).

mod bar;
mod config;
#[cfg(test)]
mod rig;

use crate::device::VfioDevice;
use crate::reply::{Region, Reply};
use crate::{PciAddress, VfioError, ioctl};
use bar::Bar;
use config::ConfigSpace;
use luge_memory::{MemoryAccess, NumaNode, PciFunction, PciId, Span};
use rustix::event::{EventfdFlags, eventfd};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FLAGS_RESET, VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX,
};

/// A function. Its fields are dropped in their order.
pub struct VfioFunction {
    name: String,
    id: PciId,
    node: Option<NumaNode>,
    vectors: u16,
    reset: Reset,
    recall: OwnedFd,
    bar: Bar,
    config: Region,
    device: Mutex<VfioDevice>,
}

/// Whether a function can be reset.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reset {
    Possible,
    Impossible,
}

impl VfioFunction {
    /// Wakes a function, maps its registers, and forbids it memory access.
    pub fn open(device: VfioDevice, address: PciAddress, node: Option<NumaNode>) -> Result<Self, VfioError> {
        let failed = |what| move |source| VfioError::Kernel { address, what, source };
        let file = device.file().ok_or_else(gone).map_err(failed("reaching it"))?;
        let flags = ioctl::device_flags(file).map_err(failed("reading what it can do"))?;
        let config =
            region(file, VFIO_PCI_CONFIG_REGION_INDEX).map_err(failed("finding its configuration"))?;
        let registers = region(file, VFIO_PCI_BAR0_REGION_INDEX).map_err(failed("finding its BAR 0"))?;
        if registers.len == 0 {
            return Err(VfioError::NoRegisters(address));
        }
        let space = ConfigSpace { file, region: &config };
        space.power_on().map_err(failed("waking it"))?;
        space.set_memory_access(MemoryAccess::Forbidden).map_err(failed("forbidding it memory access"))?;
        let id = space.id().map_err(failed("reading its vendor and device"))?;
        let bar = Bar::map(file, registers).map_err(failed("mapping its BAR 0"))?;
        let vectors = ioctl::msix_vectors(file).map_err(failed("counting its interrupts"))?;
        let vectors = u16::try_from(vectors).unwrap_or(u16::MAX);
        let recall = recall(file).map_err(failed("asking to be told when the host wants it back"))?;
        let reset = if flags & VFIO_DEVICE_FLAGS_RESET == 0 { Reset::Impossible } else { Reset::Possible };
        let (name, device) = (address.to_string(), Mutex::new(device));
        Ok(Self { name, id, node, vectors, reset, recall, bar, config, device })
    }

    fn device(&self) -> MutexGuard<'_, VfioDevice> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `act` with the function's file, which stays open meanwhile.
    fn with_file<R>(&self, act: impl FnOnce(&File) -> io::Result<R>) -> io::Result<R> {
        act(self.device().file().ok_or_else(gone)?)
    }

    fn config<'a>(&'a self, file: &'a File) -> ConfigSpace<'a> {
        ConfigSpace { file, region: &self.config }
    }

    /// Error of this crate's own that names the function.
    fn error(&self, kind: io::ErrorKind, what: impl std::fmt::Display) -> io::Error {
        io::Error::new(kind, format!("{}: {what}", self.name))
    }
}

impl PciFunction for VfioFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> PciId {
        self.id
    }

    fn read32(&self, offset: u32) -> u32 {
        self.with_file(|file| Ok(self.bar.read32(file, offset))).unwrap_or(u32::MAX)
    }

    fn write32(&self, offset: u32, value: u32) {
        // A function that has left takes no store, as one that is gone.
        let _ = self.with_file(|file| {
            self.bar.write32(file, offset, value);
            Ok(())
        });
    }

    fn registers(&self, offset: u32, len: u32) -> io::Result<Span> {
        let unmapped = || {
            let what = format!("{len} bytes at {offset:#x} of BAR 0 cannot be mapped");
            self.error(io::ErrorKind::Unsupported, what)
        };
        self.bar.registers(offset, len).ok_or_else(unmapped)
    }

    fn set_bus_master(&self, access: MemoryAccess) -> io::Result<()> {
        let set = self.with_file(|file| self.config(file).set_memory_access(access));
        set.map_err(|error| {
            self.error(error.kind(), format_args!("setting its memory access failed: {error}"))
        })
    }

    fn vectors(&self) -> u16 {
        self.vectors
    }

    fn enable_interrupts(&self, count: u16) -> io::Result<Vec<OwnedFd>> {
        if count > self.vectors {
            let what = format!("it has {} MSI-X vectors, not {count}", self.vectors);
            return Err(self.error(io::ErrorKind::Unsupported, what));
        }
        let failed = |error: io::Error| {
            self.error(error.kind(), format_args!("routing its interrupts failed: {error}"))
        };
        self.with_file(disable_interrupts).map_err(failed)?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let eventfds: Result<Vec<_>, _> = (0..count).map(|_| eventfd(0, flags)).collect();
        let eventfds = eventfds.map_err(|error| failed(error.into()))?;
        if eventfds.is_empty() {
            return Ok(eventfds);
        }
        match self.with_file(|file| ioctl::set_msix(file, &eventfds)).map_err(failed)? {
            0 => Ok(eventfds),
            left => {
                let what = format!("the machine has {left} interrupt vectors left, not {count}");
                Err(self.error(io::ErrorKind::QuotaExceeded, what))
            }
        }
    }

    fn reset(&self) -> io::Result<()> {
        if self.reset == Reset::Impossible {
            return Err(self.error(io::ErrorKind::Unsupported, "there is no way to reset it"));
        }
        self.with_file(|file| {
            let config = self.config(file);
            let command = config.command()?;
            ioctl::reset(file)
                .map_err(|error| self.error(error.kind(), format_args!("resetting it failed: {error}")))?;
            config.set_command(command)
        })
    }

    fn recall(&self) -> Option<&OwnedFd> {
        Some(&self.recall)
    }

    fn hand_back(&self) -> io::Result<()> {
        let mut device = self.device();
        if let Some(file) = device.file() {
            // A function that is gone refuses both, and does neither any more. Closing its file
            // makes the kernel do the same once more.
            let _ = self.config(file).set_memory_access(MemoryAccess::Forbidden);
            let _ = disable_interrupts(file);
        }
        self.bar.unmap().map_err(|error| {
            self.error(error.kind(), format_args!("unmapping its registers failed: {error}"))
        })?;
        device.close();
        Ok(())
    }

    fn numa_node(&self) -> Option<NumaNode> {
        self.node
    }
}

impl Drop for VfioFunction {
    fn drop(&mut self) {
        // Registers that could not be unmapped go with the fields, before the file.
        let _ = self.hand_back();
    }
}

/// Turns MSI-X off: vectors that are routed would stay so when fewer are routed anew.
fn disable_interrupts(file: &File) -> io::Result<()> {
    match ioctl::set_msix(file, &[]) {
        // It was off.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Creates an eventfd that is signalled when the host wants the function back.
fn recall(file: &File) -> io::Result<OwnedFd> {
    let recall = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    ioctl::set_recall(file, &recall)?;
    Ok(recall)
}

fn region(file: &File, index: u32) -> io::Result<Region> {
    let contradiction =
        || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer contradicts itself");
    Region::parse(Reply(&ioctl::region_info(file, index)?)).ok_or_else(contradiction)
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "it is closed")
}

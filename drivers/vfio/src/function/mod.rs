//! A PCI function opened by VFIO: registers, configuration, interrupts, reset.
//!
//! Path: NVMe queue pair -> **registers** -> SSD.
//!
//! Invariants
//! - The function accesses no memory before its driver allows it, and none after it was handed back.
//! - Handing it back turns off memory access and interrupts, unmaps the registers and closes the file;
//!   for the last function of the process it also detaches the IOMMU domain. Dropping does the same.
//!
//! Not here: binding (`binding`), the memory that it reaches (`domain`), the meaning of its registers
//! (the crate `nvme`).

mod bar;

use crate::config::{ConfigFile, ConfigSpace};
use crate::membership::Membership;
use crate::reply::{Region, Reply};
use crate::{PciAddress, VfioError, ioctl};
use bar::Bar;
use luge_memory::{MemoryAccess, NumaNode, PciFunction, PciId, Span};
use rustix::event::{EventfdFlags, eventfd};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FLAGS_RESET, VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX,
};

/// An open function. The fields are dropped in this order.
pub struct VfioFunction {
    name: String,
    id: PciId,
    node: Option<NumaNode>,
    vectors: u16,
    reset: Reset,
    recall: OwnedFd,
    bar: Bar,
    config: Region,
    membership: Mutex<Membership>,
}

/// Whether a function can be reset.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reset {
    Possible,
    Impossible,
}

impl VfioFunction {
    /// Sets the function up: in power state D0, registers mapped, memory access forbidden.
    pub fn open(
        membership: Membership,
        address: PciAddress,
        node: Option<NumaNode>,
    ) -> Result<Self, VfioError> {
        let failed = |what| move |source| VfioError::Kernel { address, what, source };
        let file = membership.file().ok_or_else(closed).map_err(failed("using the function"))?;
        let flags = ioctl::device_flags(file).map_err(failed("reading its flags"))?;
        let config =
            region(file, VFIO_PCI_CONFIG_REGION_INDEX).map_err(failed("finding its configuration"))?;
        let registers = region(file, VFIO_PCI_BAR0_REGION_INDEX).map_err(failed("finding its BAR 0"))?;
        if registers.len == 0 {
            return Err(VfioError::NoRegisters(address));
        }
        let space = ConfigSpace(ConfigFile { file, region: &config });
        space.power_on().map_err(failed("powering it on"))?;
        space.set_memory_access(MemoryAccess::Forbidden).map_err(failed("forbidding memory access"))?;
        let id = space.id().map_err(failed("reading its vendor and device"))?;
        let bar = Bar::map(file, registers).map_err(failed("mapping its BAR 0"))?;
        let vectors = ioctl::msix_vectors(file).map_err(failed("counting its interrupts"))?;
        let vectors = u16::try_from(vectors).unwrap_or(u16::MAX);
        let recall = recall(file).map_err(failed("registering for the host's requests"))?;
        let reset = if flags & VFIO_DEVICE_FLAGS_RESET == 0 { Reset::Impossible } else { Reset::Possible };
        let (name, membership) = (address.to_string(), Mutex::new(membership));
        Ok(Self { name, id, node, vectors, reset, recall, bar, config, membership })
    }

    fn membership(&self) -> MutexGuard<'_, Membership> {
        self.membership.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `act` with the function's file, which stays open meanwhile.
    fn with_file<R>(&self, act: impl FnOnce(&File) -> io::Result<R>) -> io::Result<R> {
        act(self.membership().file().ok_or_else(closed)?)
    }

    fn config<'a>(&'a self, file: &'a File) -> ConfigSpace<ConfigFile<'a>> {
        ConfigSpace(ConfigFile { file, region: &self.config })
    }

    /// Error with the name of the function.
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
        // A function that was handed back ignores stores, like one that was removed.
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
        let mut membership = self.membership();
        if let Some(file) = membership.file() {
            // Both fail for a function that was removed, which accesses nothing any more. The kernel
            // does both again when the file is closed.
            let _ = self.config(file).set_memory_access(MemoryAccess::Forbidden);
            let _ = disable_interrupts(file);
        }
        self.bar.release().map_err(|error| {
            self.error(error.kind(), format_args!("unmapping its registers failed: {error}"))
        })?;
        membership.leave();
        Ok(())
    }

    fn numa_node(&self) -> Option<NumaNode> {
        self.node
    }
}

impl Drop for VfioFunction {
    fn drop(&mut self) {
        // Registers that could not be unmapped are dropped with the fields, before the file.
        let _ = self.hand_back();
    }
}

/// Turns MSI-X off; otherwise routed vectors would stay routed when fewer are routed later.
fn disable_interrupts(file: &File) -> io::Result<()> {
    match ioctl::set_msix(file, &[]) {
        // MSI-X was off.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Makes an eventfd that the kernel signals when the host wants the function back.
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

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the function is closed")
}

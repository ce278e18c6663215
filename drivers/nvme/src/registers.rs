//! Registers of a controller, and the steps that enable, disable and shut it down.
//!
//! Path: none; bring-up, recovery and shutdown.
//!
//! Invariants
//! - Every wait has a time limit, and ends at once when the controller no longer answers.
//! - After [`Registers::disable`] has returned `Ok`, the controller accesses no memory.
//!
//! Not here: admin commands (`commands`), the decision to reset (`recovery`).

use crate::quirks::{Quirk, Quirks};
use crate::{ErrorKind, Fault};
use luge_memory::{Iova, MemoryAccess, PciFunction};
use luge_spec::nvme::{
    Capabilities, Configuration, ControllerStatus, Shutdown, ShutdownStatus, Version, command_sets, offset,
};
use std::time::{Duration, Instant};

/// Page size of the controller (CC.MPS), which is that of the CPU.
pub(crate) const PAGE_BYTES: u32 = 4096;

/// Addresses of the admin queues, and number of entries of each.
#[derive(Clone, Copy)]
pub(crate) struct AdminQueues {
    pub submissions: Iova,
    pub completions: Iova,
    pub entries: u16,
}

/// Kind of a doorbell.
#[derive(Clone, Copy)]
pub(crate) enum Doorbell {
    SubmissionTail,
    CompletionHead,
}

/// Registers of a controller.
pub(crate) struct Registers {
    function: Box<dyn PciFunction>,
    capabilities: Capabilities,
    quirks: Quirks,
}

impl Registers {
    /// Checks the capabilities of a controller; returns its registers if Luge can drive it.
    pub(crate) fn new(function: Box<dyn PciFunction>) -> Result<Self, ErrorKind> {
        let capabilities = Capabilities(read64(&*function, offset::CAP));
        if capabilities.0 == u64::MAX {
            return Err(ErrorKind::Silent);
        }
        check_command_sets(capabilities.command_sets(), function.name())?;
        if capabilities.page_bytes_min() > u64::from(PAGE_BYTES) {
            return Err(ErrorKind::PageSize(capabilities.page_bytes_min()));
        }
        let quirks = Quirks::of(function.id());
        Ok(Self { function, capabilities, quirks })
    }

    /// Quirks of the model.
    pub(crate) fn quirks(&self) -> Quirks {
        self.quirks
    }

    /// Whether Identify tells which I/O command sets there are: CAP.CSS bit 6.
    pub(crate) fn has_several_command_sets(&self) -> bool {
        self.capabilities.command_sets() & command_sets::SEVERAL != 0
    }

    pub(crate) fn function(&self) -> &dyn PciFunction {
        &*self.function
    }

    pub(crate) fn name(&self) -> &str {
        self.function.name()
    }

    pub(crate) fn version(&self) -> Version {
        Version(self.function.read32(offset::VS))
    }

    /// Number of entries of an I/O queue: a power of two, at least 2, at most `wanted` and what the SSD takes.
    pub(crate) fn queue_entries(&self, wanted: u16) -> u16 {
        let have = self.quirks.queue_entries_max(self.capabilities.queue_entries_max_z());
        let entries = u32::from(wanted.min(4096)).min(have).max(2);
        u16::try_from(1u32 << entries.ilog2()).unwrap_or(2)
    }

    /// Offset of a queue's doorbell in BAR 0. Base 2.0, figures 47 and 48.
    pub(crate) fn doorbell_offset(&self, queue: u16, which: Doorbell) -> u32 {
        let index = u32::from(queue).wrapping_mul(2).wrapping_add(match which {
            Doorbell::SubmissionTail => 0,
            Doorbell::CompletionHead => 1,
        });
        offset::DOORBELLS.wrapping_add(index.wrapping_mul(self.capabilities.doorbell_stride_bytes()))
    }

    /// Rings a doorbell from the control plane.
    pub(crate) fn ring(&self, queue: u16, which: Doorbell, value: u16) {
        self.function.write32(self.doorbell_offset(queue, which), u32::from(value));
    }

    /// Reads CSTS.
    pub(crate) fn status(&self) -> Result<ControllerStatus, ErrorKind> {
        let status = ControllerStatus(self.function.read32(offset::CSTS));
        if status.absent() { Err(ErrorKind::Silent) } else { Ok(status) }
    }

    /// Checks in CSTS that the controller is running.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match self.status() {
            Err(_) => Err(Fault::Silent),
            Ok(status) if status.fatal() => Err(Fault::Fatal),
            Ok(status) if !status.ready() => Err(Fault::Stopped),
            Ok(_) => Ok(()),
        }
    }

    pub(crate) fn set_bus_master(&self, access: MemoryAccess) -> Result<(), ErrorKind> {
        let what = match access {
            MemoryAccess::Allowed => "let it access memory (PCI bus mastering)",
            MemoryAccess::Forbidden => "keep it from accessing memory (PCI bus mastering)",
        };
        self.function.set_bus_master(access).map_err(|source| ErrorKind::System { what, source })
    }

    /// Resets the function. Its registers are then as after power-on.
    pub(crate) fn reset_function(&self) -> Result<(), ErrorKind> {
        let what = "reset the function";
        self.function.reset().map_err(|source| ErrorKind::System { what, source })?;
        self.quirks.pause(Quirk::PauseAfterReset);
        Ok(())
    }

    /// Controller reset: CC.EN to 0, then CSTS.RDY to 0. Base 2.0, clause 3.7.2.
    pub(crate) fn disable(&self) -> Result<(), ErrorKind> {
        let status = self.status()?;
        let configuration = self.configuration();
        if configuration.enabled() && !status.ready() && !status.fatal() {
            // CC.EN must not become 0 before CSTS.RDY is 1. A controller that never gets ready is disabled all the same.
            let _ = self.wait("become ready", self.ready_timeout(), settled);
        }
        if configuration.enabled() {
            self.configure(configuration.with_shutdown(Shutdown::None).disabled());
            self.quirks.pause(Quirk::PauseAfterDisable);
        }
        self.wait("stop", self.ready_timeout(), |status| Ok(!status.ready()))
    }

    /// Enables a disabled controller. Base 2.0, clause 3.5.1.
    pub(crate) fn enable(&self, admin: AdminQueues) -> Result<(), ErrorKind> {
        let size_z = u32::from(admin.entries.saturating_sub(1));
        self.function.write32(offset::AQA, size_z << 16 | size_z);
        self.write64(offset::ASQ, admin.submissions.0);
        self.write64(offset::ACQ, admin.completions.0);
        self.configure(match self.has_several_command_sets() {
            true => Configuration::ENABLED.with_all_command_sets(),
            false => Configuration::ENABLED,
        });
        self.wait("become ready", self.ready_timeout(), settled)
    }

    /// Sends the shutdown notification, and waits until the controller has written everything to its media.
    /// Clause 3.6.1.
    pub(crate) fn shut_down(&self, timeout: Duration) -> Result<(), ErrorKind> {
        let status = self.status()?;
        if !status.ready() || status.fatal() {
            return Ok(());
        }
        self.configure(self.configuration().with_shutdown(Shutdown::Normal));
        self.wait("shut down", timeout, |status| Ok(status.shutdown() == ShutdownStatus::COMPLETE))
    }

    fn configuration(&self) -> Configuration {
        Configuration(self.function.read32(offset::CC))
    }

    fn configure(&self, configuration: Configuration) {
        self.function.write32(offset::CC, configuration.0);
    }

    /// Time limit for CSTS.RDY to follow CC.EN: CAP.TO, or 500 ms where that is zero.
    fn ready_timeout(&self) -> Duration {
        let units = u32::from(self.capabilities.timeout_500ms().max(1));
        Duration::from_millis(500).saturating_mul(units)
    }

    /// Polls CSTS until `done` returns true. The pauses grow from 50 µs to 5 ms.
    fn wait(
        &self,
        wanted: &'static str,
        timeout: Duration,
        done: impl Fn(ControllerStatus) -> Result<bool, ErrorKind>,
    ) -> Result<(), ErrorKind> {
        let start = Instant::now();
        let mut pause = Duration::from_micros(50);
        while !done(self.status()?)? {
            if start.elapsed() > timeout {
                return Err(ErrorKind::NotReady { wanted, waited: timeout });
            }
            std::thread::sleep(pause);
            pause = pause.saturating_mul(2).min(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Writes a 64-bit register in two accesses, the low half first. Clause 3.1.2.
    fn write64(&self, offset: u32, value: u64) {
        let [low, high] = halves(value);
        self.function.write32(offset, low);
        self.function.write32(offset.wrapping_add(4), high);
    }
}

/// Checks that the controller may have the NVM command set. Some that have it set no bit of CAP.CSS, or also the
/// bit that means no command set.
fn check_command_sets(sets: u8, controller: &str) -> Result<(), ErrorKind> {
    match sets {
        0 => tracing::warn!(controller, "the SSD names no I/O command set (CAP.CSS is 0): used as NVM"),
        sets if sets & (command_sets::NVM | command_sets::SEVERAL) != 0 => {}
        sets if sets & command_sets::ADMIN_ONLY != 0 => return Err(ErrorKind::AdminOnly),
        _ => return Err(ErrorKind::NoNvmCommands),
    }
    Ok(())
}

/// Whether an enabled controller is ready; an error after a fatal status.
fn settled(status: ControllerStatus) -> Result<bool, ErrorKind> {
    if status.fatal() { Err(ErrorKind::Fatal) } else { Ok(status.ready()) }
}

fn read64(function: &dyn PciFunction, offset: u32) -> u64 {
    let low = function.read32(offset);
    let high = function.read32(offset.wrapping_add(4));
    u64::from(low) | u64::from(high) << 32
}

/// Halves of a 64-bit value, the low one first.
pub(crate) const fn halves(value: u64) -> [u32; 2] {
    [(value & 0xffff_ffff) as u32, (value >> 32) as u32]
}

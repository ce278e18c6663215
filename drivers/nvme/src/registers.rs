//! A controller's registers, and the steps that switch it on and off.
//!
//! Path: none; bring-up, recovery and shutdown.
//!
//! Invariants
//! - Every wait has a deadline, and ends at once when the controller no longer answers.
//! - After [`Registers::disable`] has returned `Ok`, the controller accesses no memory.
//!
//! Not here: admin commands, who decides on a reset (`recovery`).

use crate::quirks::{Quirk, Quirks};
use crate::{Fault, ErrorKind};
use luge_memory::{Iova, MemoryAccess, PciFunction};
use luge_spec::nvme::{
    Capabilities, Configuration, ControllerStatus, Shutdown, ShutdownStatus, Version, command_sets, offset,
};
use std::time::{Duration, Instant};

/// The page size we tell the controller: the CPU's.
pub(crate) const PAGE_BYTES: u32 = 4096;

/// Where the admin queues are, and how many entries each has.
#[derive(Clone, Copy)]
pub(crate) struct AdminQueues {
    pub submissions: Iova,
    pub completions: Iova,
    pub entries: u16,
}

/// A queue's two doorbells.
#[derive(Clone, Copy)]
pub(crate) enum Doorbell {
    SubmissionTail,
    CompletionHead,
}

/// A controller's registers.
pub(crate) struct Registers {
    function: Box<dyn PciFunction>,
    capabilities: Capabilities,
    quirks: Quirks,
}

impl Registers {
    /// The registers of a function, once its capabilities turned out to be ones we can work with.
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

    /// Needs of the model besides the specification.
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

    /// Entries of an I/O queue: a power of two, `wanted` at most, no more than the SSD allows, two at
    /// least.
    pub(crate) fn queue_entries(&self, wanted: u16) -> u16 {
        let have = self.quirks.queue_entries_max(self.capabilities.queue_entries_max_z());
        let entries = u32::from(wanted.min(4096)).min(have).max(2);
        u16::try_from(1u32 << entries.ilog2()).unwrap_or(2)
    }

    /// Where a queue's doorbell is in BAR 0. Base 2.0, figures 47 and 48.
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

    /// CSTS.
    pub(crate) fn status(&self) -> Result<ControllerStatus, ErrorKind> {
        let status = ControllerStatus(self.function.read32(offset::CSTS));
        if status.absent() { Err(ErrorKind::Silent) } else { Ok(status) }
    }

    /// What is wrong with a controller that is to be running, by CSTS.
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

    /// Function reset. Its registers are as after power-on.
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
            // Still on its way up: CC.EN must not fall before it is there. If it never is, try anyway.
            let _ = self.wait("become ready", self.ready_timeout(), settled);
        }
        if configuration.enabled() {
            self.configure(configuration.with_shutdown(Shutdown::None).disabled());
            self.quirks.pause(Quirk::PauseAfterDisable);
        }
        self.wait("stop", self.ready_timeout(), |status| Ok(!status.ready()))
    }

    /// Switches a disabled controller on. Base 2.0, clause 3.5.1.
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

    /// Shutdown notification: the controller writes what it holds to the media. Clause 3.6.1.
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

    /// CAP.TO; some controllers say zero and mean "soon".
    fn ready_timeout(&self) -> Duration {
        let units = u32::from(self.capabilities.timeout_500ms().max(1));
        Duration::from_millis(500).saturating_mul(units)
    }

    /// Polls CSTS until `done` says so. Naps grow from 50 µs to 5 ms.
    fn wait(
        &self,
        wanted: &'static str,
        timeout: Duration,
        done: impl Fn(ControllerStatus) -> Result<bool, ErrorKind>,
    ) -> Result<(), ErrorKind> {
        let start = Instant::now();
        let mut nap = Duration::from_micros(50);
        while !done(self.status()?)? {
            if start.elapsed() > timeout {
                return Err(ErrorKind::NotReady { wanted, waited: timeout });
            }
            std::thread::sleep(nap);
            nap = nap.saturating_mul(2).min(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Low half first, as 32-bit accesses are allowed to. Clause 3.1.2.
    fn write64(&self, offset: u32, value: u64) {
        let [low, high] = halves(value);
        self.function.write32(offset, low);
        self.function.write32(offset.wrapping_add(4), high);
    }
}

/// Checks that the NVM command set may be there. Some SSDs that have it set no bit of CAP.CSS, or
/// set the bit for no command set besides.
fn check_command_sets(sets: u8, controller: &str) -> Result<(), ErrorKind> {
    match sets {
        0 => tracing::warn!(controller, "the SSD names no I/O command set (CAP.CSS is 0): used as NVM"),
        sets if sets & (command_sets::NVM | command_sets::SEVERAL) != 0 => {}
        sets if sets & command_sets::ADMIN_ONLY != 0 => return Err(ErrorKind::AdminOnly),
        _ => return Err(ErrorKind::NoNvmCommands),
    }
    Ok(())
}

/// Whether an enabled controller runs; it never will after a fatal error.
fn settled(status: ControllerStatus) -> Result<bool, ErrorKind> {
    if status.fatal() { Err(ErrorKind::Fatal) } else { Ok(status.ready()) }
}

fn read64(function: &dyn PciFunction, offset: u32) -> u64 {
    let low = function.read32(offset);
    let high = function.read32(offset.wrapping_add(4));
    u64::from(low) | u64::from(high) << 32
}

/// The two halves of a 64-bit value, low one first.
pub(crate) const fn halves(value: u64) -> [u32; 2] {
    [(value & 0xffff_ffff) as u32, (value >> 32) as u32]
}

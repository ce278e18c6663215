//! The scripted SSD as a PCI function.

use super::memory::piece_of;
use super::queues::low_half;
use super::ssd::{DOORBELL_BYTES, ScriptedSsd, State};
use luge_memory::{MemoryAccess, NumaNode, PciFunction, PciId, Span};
use luge_spec::nvme::{Configuration, offset};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// PCI function of a scripted SSD, which the driver owns.
struct ScriptedFunction {
    ssd: Arc<ScriptedSsd>,
}

impl ScriptedSsd {
    /// Makes the function that the driver takes over.
    #[must_use]
    pub fn function(self: &Arc<Self>) -> Box<dyn PciFunction> {
        Box::new(ScriptedFunction { ssd: self.clone() })
    }
}

impl State {
    fn capabilities(&self) -> u64 {
        let script = &self.script;
        u64::from(script.queue_entries_z)
            | 1 << 16
            | u64::from(script.timeout_500ms) << 24
            | u64::from(script.stride_log) << 32
            | u64::from(script.command_sets) << 37
            | u64::from(script.page_min_log) << 48
            | 4 << 52
    }

    fn read(&self, at: u32) -> u32 {
        let half = |value: u64, high: bool| (value >> if high { 32 } else { 0 } & 0xffff_ffff) as u32;
        match at {
            offset::CAP => half(self.capabilities(), false),
            0x04 => half(self.capabilities(), true),
            offset::VS => self.script.version.0,
            offset::CC => self.configuration.0,
            offset::CSTS => self.status,
            offset::AQA => half(self.admin[0], false),
            _ => 0,
        }
    }
}

impl PciFunction for ScriptedFunction {
    fn name(&self) -> &str {
        "scripted"
    }

    fn id(&self) -> PciId {
        self.ssd.lock().script.model
    }

    fn read32(&self, offset: u32) -> u32 {
        let mut state = self.ssd.lock();
        state.before_read(offset);
        if state.script.present { state.read(offset) } else { u32::MAX }
    }

    fn write32(&self, at: u32, value: u32) {
        let mut state = self.ssd.lock();
        if !state.script.present {
            return;
        }
        state.before_write();
        let [_, asq, acq] = state.admin;
        let (low, high) = (u64::from(value), u64::from(value) << 32);
        match at {
            offset::CC => state.configure(Configuration(value), &self.ssd.reach),
            offset::AQA => state.admin[0] = low,
            offset::ASQ => state.admin[1] = asq >> 32 << 32 | low,
            0x2c => state.admin[1] = asq & 0xffff_ffff | high,
            offset::ACQ => state.admin[2] = acq >> 32 << 32 | low,
            0x34 => state.admin[2] = acq & 0xffff_ffff | high,
            offset::DOORBELLS.. => {
                let index = (at - offset::DOORBELLS) / 4;
                state.doorbells.store(index, value, Ordering::Release);
                if index == 0 {
                    state.serve_admin(&self.ssd.reach, low_half(value));
                }
            }
            _ => {}
        }
    }

    fn registers(&self, offset: u32, len: u32) -> io::Result<Span> {
        let at = offset.checked_sub(luge_spec::nvme::offset::DOORBELLS).filter(|&at| at < DOORBELL_BYTES);
        at.and_then(|at| piece_of(&self.ssd.doorbells, at, len))
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    fn set_bus_master(&self, access: MemoryAccess) -> io::Result<()> {
        // Under the lock: no command is in the middle of its data when access ends.
        let state = self.ssd.lock();
        if access == MemoryAccess::Forbidden && !state.script.bus_master_works {
            return Err(io::Error::other("the scripted SSD keeps bus mastering"));
        }
        self.ssd.reach.bus_master.store(access == MemoryAccess::Allowed, Ordering::Relaxed);
        Ok(())
    }

    fn vectors(&self) -> u16 {
        self.ssd.lock().script.vectors
    }

    fn enable_interrupts(&self, count: u16) -> io::Result<Vec<OwnedFd>> {
        assert_eq!(count, 1, "the driver asks for the admin queue's only");
        let fd = eventfd(0, EventfdFlags::CLOEXEC)?;
        self.ssd.lock().interrupt = Some(fd.try_clone()?);
        Ok(vec![fd])
    }

    fn reset(&self) -> io::Result<()> {
        let mut state = self.ssd.lock();
        if !state.script.reset_works {
            return Err(io::ErrorKind::Unsupported.into());
        }
        state.account.function_resets += 1;
        state.forget();
        state.reset_at = Instant::now();
        self.ssd.reach.bus_master.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn recall(&self) -> Option<&OwnedFd> {
        Some(&self.ssd.recall)
    }

    fn hand_back(&self) -> io::Result<()> {
        let mut state = self.ssd.lock();
        state.script.present = false;
        state.account.handed_back = true;
        self.ssd.reach.bus_master.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn numa_node(&self) -> Option<NumaNode> {
        None
    }
}

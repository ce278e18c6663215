//! The PCI function of a controller.

use super::config_space::{self, ConfigSpace, Shape, Written};
use super::layout::{DOORBELLS, MSIX_BAR, REGISTERS_BAR, registers_len};
use super::msix::MsixTable;
use crate::controller::{Controller, Phase, ResetLevel};
use luge_memory::GuestMemory;
use luge_spec::nvme::AsyncEvent;
use luge_vfio_user::{Area, Client, Function, Mappable, Progress, Region, RegionAccess, RegionIndex};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// Commands that are served before the client's messages have their turn.
const COMMANDS_AT_ONCE: usize = 64;

/// The PCI function of a controller.
pub(super) struct NvmeFunction {
    client: Client,
    controller: Controller,
    config: ConfigSpace,
    msix: MsixTable,
    /// File of the doorbells.
    doorbells: Arc<OwnedFd>,
}

/// Region of the function.
enum Place {
    Registers,
    Msix,
    Config,
    None,
}

impl Place {
    fn of(region: RegionIndex) -> Self {
        match region.0.get() {
            REGISTERS_BAR => Self::Registers,
            index if index == u32::from(MSIX_BAR) => Self::Msix,
            index if index == RegionIndex::CONFIG.0.get() => Self::Config,
            _ => Self::None,
        }
    }
}

impl NvmeFunction {
    /// A function as after power-on, with the file of its controller's doorbells.
    pub(super) fn new(client: Client, controller: Controller, doorbells: OwnedFd) -> Self {
        let vectors = controller.vectors();
        let shape = Shape { vectors, doorbells: controller.parts.doorbells.bytes() };
        let (config, msix) = (ConfigSpace::new(shape), MsixTable::new(vectors));
        Self { client, controller, config, msix, doorbells: Arc::new(doorbells) }
    }

    /// Reads BAR0, which may be from registers into doorbells.
    fn read_bar(&self, at: u64, data: &mut [u8]) {
        let registers = usize::try_from(DOORBELLS.saturating_sub(at)).unwrap_or(usize::MAX).min(data.len());
        let (registers, doorbells) = data.split_at_mut(registers);
        self.controller.read_registers(at, registers);
        self.read_doorbells(at.saturating_sub(DOORBELLS), doorbells);
    }

    fn read_doorbells(&self, at: u64, data: &mut [u8]) {
        for (byte, at) in data.iter_mut().zip(at..) {
            let word = self.controller.parts.doorbells.load(at & !3).unwrap_or(0).to_le_bytes();
            let within = usize::try_from(at & 3).unwrap_or(0);
            *byte = word.get(within).copied().unwrap_or(0);
        }
    }

    /// Writes BAR0.
    fn write_bar(&mut self, at: u64, data: &[u8]) {
        let Some(doorbell) = at.checked_sub(DOORBELLS) else {
            return self.controller.write_registers(at, data);
        };
        // A doorbell is a word of 32 bits; whatever else is written there has no effect.
        if let Ok(value) = <[u8; 4]>::try_from(data)
            && doorbell.is_multiple_of(4)
        {
            self.controller.write_doorbell(doorbell, u32::from_le_bytes(value));
        }
    }

    fn memory_changed(&mut self, memory: &Arc<GuestMemory>) -> Progress {
        let tenant = self.client.tenant(memory);
        if self.controller.replace_memory(memory, tenant) { Progress::Done } else { Progress::Pending }
    }

    /// Function-level reset: the configuration space, too.
    fn reset_all(&mut self) {
        self.controller.reset(ResetLevel::Function);
        self.config.reset();
        self.msix.reset();
        self.controller.set_bus_master(false);
    }

    fn is_settled(&self) -> bool {
        self.controller.state.phase != Phase::Resetting && self.controller.memory_is_settled()
    }
}

impl Function for NvmeFunction {
    fn region(&self, index: RegionIndex) -> Region {
        let access = RegionAccess::ReadWrite;
        match Place::of(index) {
            Place::Registers => {
                let len = self.controller.parts.doorbells.bytes();
                let areas = vec![Area { offset: DOORBELLS, len }];
                // Offsets in the file are those of the BAR.
                let mappable = Mappable { file: self.doorbells.clone(), file_offset: 0, areas };
                let mappable = self.controller.parts.config.mappable_doorbells.then_some(mappable);
                Region { len: registers_len(len), access, mappable }
            }
            Place::Msix => Region { len: self.msix.len(), access, mappable: None },
            Place::Config => Region { len: config_space::BYTES as u64, access, mappable: None },
            Place::None => Region::ABSENT,
        }
    }

    fn vectors(&self) -> u16 {
        self.controller.vectors()
    }

    fn read(&mut self, region: RegionIndex, offset: u64, data: &mut [u8]) {
        match Place::of(region) {
            Place::Registers => self.read_bar(offset, data),
            Place::Msix => self.msix.read(offset, data),
            Place::Config => self.config.read(offset, data),
            Place::None => data.fill(0),
        }
    }

    fn write(&mut self, region: RegionIndex, offset: u64, data: &[u8]) {
        match Place::of(region) {
            Place::Registers => self.write_bar(offset, data),
            Place::Msix => self.msix.write(offset, data),
            Place::Config => {
                if self.config.write(offset, data) == Written::Reset {
                    self.reset_all();
                }
                self.controller.set_bus_master(self.config.is_bus_master());
            }
            Place::None => {}
        }
    }

    fn set_vectors(&mut self, first: u16, eventfds: Vec<Option<OwnedFd>>) {
        self.controller.set_vectors(first, eventfds);
    }

    fn trigger(&mut self, vector: u16) {
        self.controller.trigger(vector);
    }

    fn memory_added(&mut self, memory: &Arc<GuestMemory>) {
        self.memory_changed(memory);
    }

    fn memory_removed(&mut self, memory: &Arc<GuestMemory>) -> Progress {
        self.memory_changed(memory)
    }

    fn reset(&mut self) -> Progress {
        self.reset_all();
        self.progress()
    }

    fn leave_cores(&mut self) {
        self.controller.leave_cores();
    }

    fn failure(&self) -> Option<String> {
        self.controller.failure()
    }

    fn progress(&mut self) -> Progress {
        if self.is_settled() { Progress::Done } else { Progress::Pending }
    }

    fn event(&self) -> Option<BorrowedFd<'_>> {
        Some(self.controller.parts.relay.bell())
    }

    fn wake_at(&self) -> Option<Instant> {
        self.controller.keep_alive_until()
    }

    fn on_event(&mut self) {
        let relay = self.controller.parts.relay.clone();
        relay.hush();
        self.controller.namespaces_changed();
        if relay.take_invalid_doorbell() {
            self.controller.add_event(AsyncEvent::INVALID_DOORBELL_VALUE);
        }
        self.controller.log_failures();
        // Also where nothing has drained: a job may be over.
        let _ = relay.take_drained();
        self.controller.take_notices();
        self.controller.go_on();
        self.controller.check_keep_alive();
        for _ in 0..COMMANDS_AT_ONCE {
            let next = if self.controller.is_bus_master { relay.next() } else { None };
            let Some(command) = next else { return };
            self.controller.serve(&command);
        }
        // There may be more: the bell has been hushed.
        self.controller.ring();
    }
}

//! Get Log Page. Base 2.0, clause 5.16.

use super::dispatch::low;
use super::identify::pad;
use super::outcome::{INVALID_FIELD, Outcome, Reply, refuse};
use crate::commands::CommandStatus;
use crate::controller::{Controller, ControllerConfig, FIRMWARE, TEMPERATURE_K};
use crate::ids::NamespaceId;
use luge_spec::nvme::{
    AdminOpcode, EffectsLog, FirmwareLog, IoOpcode, LogPage, NamespaceList, SmartLog, StatusCode,
    SubmissionEntry, effects,
};
use luge_volume::Counters;
use zerocopy::{FromZeros, IntoBytes};

/// RAE: the event of the log stays masked.
const RETAIN_EVENT: u32 = 1 << 15;

/// Log pages that there are.
const PAGES: [LogPage; 7] = [
    LogPage::SUPPORTED,
    LogPage::ERRORS,
    LogPage::HEALTH,
    LogPage::FIRMWARE,
    LogPage::CHANGED_NAMESPACES,
    LogPage::EFFECTS,
    LogPage::RESERVATIONS,
];

/// LSUPP, in the log of supported pages.
const SUPPORTED: u32 = 1 << 0;

/// Blocks of 512 bytes in a unit of data of the SMART log.
const DATA_UNIT_SECTORS: u128 = 1000;

/// Available spare, and the threshold below which there is a warning, in percent.
const SPARE: u8 = 100;
const SPARE_THRESHOLD: u8 = 10;

/// Critical warnings: a temperature has reached a threshold; the media are read-only.
const TEMPERATURE: u8 = 1 << 1;
const READ_ONLY: u8 = 1 << 3;

/// Changed namespaces that fit in their list; of more, the list says only that.
const CHANGED_MAX: usize = 1024;

/// A Get Log Page command.
struct LogRequest {
    page: LogPage,
    offset: u64,
    bytes: u64,
    retains_event: bool,
}

impl LogRequest {
    /// Reads the command. Offset and length are in bytes there, and whole words of 32 bits.
    fn new(entry: &SubmissionEntry) -> Result<Self, CommandStatus> {
        let [cdw10, cdw11, offset_low, offset_high, cdw14, _] = entry.cdw10;
        let words_z = u64::from(cdw10 >> 16) | u64::from(low(cdw11)) << 16;
        let offset = u64::from(offset_low) | u64::from(offset_high) << 32;
        // OT: an index instead of an offset, which no page has.
        let has_index = cdw14 >> 23 & 1 == 1;
        if !offset.is_multiple_of(4) || has_index {
            return Err(INVALID_FIELD);
        }
        Ok(Self {
            page: LogPage(cdw10.to_le_bytes()[0]),
            offset,
            bytes: words_z.saturating_add(1).saturating_mul(4),
            retains_event: cdw10 & RETAIN_EVENT != 0,
        })
    }

    /// Bytes of a page that are asked for.
    fn part<'a>(&self, page: &'a [u8]) -> Result<&'a [u8], CommandStatus> {
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let rest = page.get(offset..).ok_or(INVALID_FIELD)?;
        let bytes = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        Ok(rest.get(..bytes).unwrap_or(rest))
    }
}

impl Controller {
    /// Get Log Page.
    pub(super) fn get_log_page(&mut self, entry: &SubmissionEntry) -> Reply {
        let request = LogRequest::new(entry)?;
        let page = self.log_page(request.page, NamespaceId(entry.namespace))?;
        self.to_host(entry, request.part(&page)?)?;
        if !request.retains_event {
            self.state.events.log_was_read(request.page);
            if request.page == LogPage::RESERVATIONS {
                self.notification_was_read();
            }
            self.report();
        }
        Ok(Outcome::DONE)
    }

    fn log_page(&self, page: LogPage, namespace: NamespaceId) -> Result<Vec<u8>, CommandStatus> {
        match page {
            LogPage::SUPPORTED => Ok(supported_pages()),
            LogPage::ERRORS => Ok(self.state.errors.entries().as_bytes().to_vec()),
            LogPage::HEALTH => self.health(namespace),
            LogPage::FIRMWARE => Ok(firmware()),
            LogPage::CHANGED_NAMESPACES => Ok(self.changed_namespaces()),
            LogPage::EFFECTS => Ok(effects_log(&self.parts.config).as_bytes().to_vec()),
            LogPage::RESERVATIONS => Ok(self.state.reservation_notices.page().as_bytes().to_vec()),
            _ => refuse(StatusCode::INVALID_LOG_PAGE),
        }
    }

    /// SMART / Health Information: of all namespaces of the controller, or of one.
    fn health(&self, namespace: NamespaceId) -> Result<Vec<u8>, CommandStatus> {
        let all = matches!(namespace, NamespaceId(0) | NamespaceId::ALL);
        if !all {
            self.active(namespace)?;
        }
        let mut log = SmartLog::new_zeroed();
        log.composite_temperature = TEMPERATURE_K.to_le_bytes();
        log.critical_warning = if self.temperature_warns() { TEMPERATURE } else { 0 };
        log.available_spare = SPARE;
        log.available_spare_threshold = SPARE_THRESHOLD;
        for (_, served) in self.namespaces().iter().filter(|(id, _)| all || **id == namespace) {
            let geometry = served.geometry();
            add_counters(&mut log, &served.counters(), geometry.block_bytes);
            log.critical_warning |= if geometry.read_only { READ_ONLY } else { 0 };
        }
        // Up to here they are sectors.
        log.data_units_read = log.data_units_read.div_ceil(DATA_UNIT_SECTORS);
        log.data_units_written = log.data_units_written.div_ceil(DATA_UNIT_SECTORS);
        log.power_cycles = self.parts.subsystem.power_cycles().into();
        log.power_on_hours = self.parts.subsystem.hours().into();
        log.unsafe_shutdowns = self.parts.subsystem.unsafe_shutdowns().into();
        log.error_log_entries = self.state.errors.count().into();
        Ok(log.as_bytes().to_vec())
    }

    /// Changed Namespace List.
    fn changed_namespaces(&self) -> Vec<u8> {
        let mut list = NamespaceList([0; 1024]);
        let changed = self.state.events.changed_namespaces();
        if changed.len() > CHANGED_MAX {
            let [first, ..] = &mut list.0;
            *first = u32::MAX;
        } else {
            list.0.iter_mut().zip(changed).for_each(|(place, id)| *place = *id);
        }
        list.as_bytes().to_vec()
    }
}

/// Adds the counts of a volume; data in sectors.
fn add_counters(log: &mut SmartLog, counters: &Counters, block_bytes: u32) {
    let sectors = |blocks: u64| u128::from(blocks).saturating_mul(u128::from(block_bytes / 512));
    log.data_units_read = log.data_units_read.saturating_add(sectors(counters.read_blocks));
    log.data_units_written = log.data_units_written.saturating_add(sectors(counters.written_blocks));
    log.host_reads = log.host_reads.saturating_add(counters.reads.into());
    log.host_writes = log.host_writes.saturating_add(counters.writes.into());
    log.media_errors = log.media_errors.saturating_add(counters.failed.into());
}

/// Supported Log Pages.
fn supported_pages() -> Vec<u8> {
    let mut words = [0_u32; 256];
    PAGES.iter().map(|page| usize::from(page.0)).for_each(|page| {
        words.get_mut(page).into_iter().for_each(|word| *word = SUPPORTED);
    });
    words.as_bytes().to_vec()
}

/// Firmware Slot Information: one slot.
fn firmware() -> Vec<u8> {
    let mut log = FirmwareLog::new_zeroed();
    log.active = 1;
    let [first, ..] = &mut log.slots;
    pad(first, FIRMWARE);
    log.as_bytes().to_vec()
}

/// Commands Supported and Effects.
fn effects_log(config: &ControllerConfig) -> EffectsLog {
    const ADMIN: [(AdminOpcode, u32); 14] = [
        (AdminOpcode::DELETE_SUBMISSION_QUEUE, 0),
        (AdminOpcode::CREATE_SUBMISSION_QUEUE, 0),
        (AdminOpcode::GET_LOG_PAGE, 0),
        (AdminOpcode::DELETE_COMPLETION_QUEUE, 0),
        (AdminOpcode::CREATE_COMPLETION_QUEUE, 0),
        (AdminOpcode::IDENTIFY, 0),
        (AdminOpcode::ABORT, 0),
        (AdminOpcode::SET_FEATURES, 0),
        (AdminOpcode::GET_FEATURES, 0),
        (AdminOpcode::ASYNC_EVENT_REQUEST, 0),
        (AdminOpcode::NAMESPACE_ATTACHMENT, effects::INVENTORY_CHANGE),
        (AdminOpcode::KEEP_ALIVE, 0),
        (AdminOpcode::DOORBELL_BUFFER_CONFIG, 0),
        (AdminOpcode::FORMAT, effects::CONTENT_CHANGE | effects::EXCLUSIVE_IN_NAMESPACE),
    ];
    const IO: [(IoOpcode, u32); 13] = [
        (IoOpcode::FLUSH, 0),
        (IoOpcode::WRITE, effects::CONTENT_CHANGE),
        (IoOpcode::READ, 0),
        (IoOpcode::WRITE_UNCORRECTABLE, effects::CONTENT_CHANGE),
        (IoOpcode::COMPARE, 0),
        (IoOpcode::WRITE_ZEROES, effects::CONTENT_CHANGE),
        (IoOpcode::DATASET_MANAGEMENT, effects::CONTENT_CHANGE),
        (IoOpcode::VERIFY, 0),
        (IoOpcode::RESERVATION_REGISTER, 0),
        (IoOpcode::RESERVATION_REPORT, 0),
        (IoOpcode::RESERVATION_ACQUIRE, 0),
        (IoOpcode::RESERVATION_RELEASE, 0),
        (IoOpcode::COPY, effects::CONTENT_CHANGE),
    ];
    let mut log = EffectsLog::new_zeroed();
    let set = |word: Option<&mut u32>, effect: u32| {
        word.into_iter().for_each(|word| *word = effects::SUPPORTED | effect);
    };
    let admin = ADMIN.iter().filter(|(opcode, _)| config.has_admin(*opcode));
    let io = IO.iter().filter(|(opcode, _)| config.has_io(*opcode));
    admin.for_each(|(opcode, effect)| set(log.admin.get_mut(usize::from(opcode.0)), *effect));
    io.for_each(|(opcode, effect)| set(log.io.get_mut(usize::from(opcode.0)), *effect));
    log
}

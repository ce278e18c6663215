//! Limits of controllers.

use luge_block::Geometry;
use luge_spec::nvme::{AdminOpcode, IoOpcode, oncs};
use thiserror::Error;

/// AERL: most Asynchronous Event Requests at once, zero-based.
pub(crate) const EVENT_REQUESTS_MAX_Z: u8 = 7;

/// ACL: most Abort commands at once, zero-based. They are served one by one.
pub(crate) const ABORTS_MAX_Z: u8 = 3;

/// Entries of the error log.
pub(crate) const ERROR_LOG_ENTRIES: u8 = 64;

/// KAS: granularity of the keep alive timer.
pub(crate) const KEEP_ALIVE_UNIT_100MS: u16 = 10;

/// CAP.TO and CRTO: the longest time that a reset or an enable should take, in units of 500 ms: a minute. A reset waits
/// for commands in flight, and the recovery of an SSD that is stuck takes most of that.
pub(crate) const READY_TIMEOUT_500MS: u8 = 120;

/// Largest memory page, as a power of two of 4 KiB: 64 KiB.
pub(crate) const PAGE_SHIFT_MAX: u8 = 4;

/// Composite temperature in kelvin: 50 degrees Celsius, as that of QEMU's controller. Nothing is measured, and the
/// specification has no value for that.
pub(crate) const TEMPERATURE_K: u16 = 323;

/// WCTEMP and CCTEMP: temperatures in kelvin that are warned of, and critical.
pub(crate) const TEMPERATURE_WARNING_K: u16 = 343;
pub(crate) const TEMPERATURE_CRITICAL_K: u16 = 373;

/// Revision of the firmware: that of this program.
pub(crate) const FIRMWARE: &str = env!("CARGO_PKG_VERSION");

/// Sizes and abilities of the controllers of a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControllerConfig {
    /// Most I/O queue pairs: 1 to [`ControllerConfig::IO_QUEUES_MAX`].
    pub io_queues: u16,
    /// Interrupt vectors: 1 to [`ControllerConfig::VECTORS_MAX`].
    pub vectors: u16,
    /// Most entries of an I/O queue: 2 to [`ControllerConfig::QUEUE_ENTRIES_MAX`].
    pub queue_entries: u32,
    /// Most entries of an admin queue, likewise. Hosts are not told: a controller with longer ones does not start.
    pub admin_queue_entries: u32,
    /// Most data of a command in bytes: a power of two from [`ControllerConfig::TRANSFER_BYTES_MIN`] to
    /// [`ControllerConfig::TRANSFER_BYTES_MAX`].
    pub transfer_bytes: u32,
    /// Whether clients can map the doorbells.
    pub mappable_doorbells: bool,
    /// Whether there are shadow doorbells (Doorbell Buffer Config).
    pub shadow_doorbells: bool,
    /// Whether a host that has still to look at an interrupt gets no other one.
    pub adaptive_interrupts: bool,
    /// Optional commands that there are not.
    pub masked: MaskedCommands,
}

/// Optional commands that controllers do not offer, whatever the volumes can.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MaskedCommands {
    /// Bits of ONCS: some of [`MaskedCommands::ONCS`].
    pub oncs: u16,
    /// Bits of FUSES: [`MaskedCommands::COMPARE_AND_WRITE`], or none.
    pub fuses: u16,
}

impl MaskedCommands {
    /// Bits of ONCS whose commands can be masked.
    pub const ONCS: u16 =
        oncs::COMPARE | oncs::DATASET_MANAGEMENT | oncs::WRITE_ZEROES | oncs::RESERVATIONS | oncs::COPY;

    /// Bit of FUSES for Compare and Write.
    pub const COMPARE_AND_WRITE: u16 = 1 << 0;

    /// Whether the commands of a bit of ONCS are masked.
    pub(crate) fn has(self, bit: u16) -> bool {
        self.oncs & bit != 0
    }

    /// Whether Compare and Write is masked.
    fn has_compare_and_write(self) -> bool {
        self.fuses & Self::COMPARE_AND_WRITE != 0
    }
}

/// Reason why a listener cannot have such controllers.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ControllerConfigError {
    /// An impossible number of queues.
    #[error("{0} I/O queues are not possible: a controller has 1 to {max}", max = ControllerConfig::IO_QUEUES_MAX)]
    Queues(u16),
    /// An impossible number of vectors.
    #[error("{0} interrupt vectors are not possible: a controller has 1 to {max}", max = ControllerConfig::VECTORS_MAX)]
    Vectors(u16),
    /// An impossible length of queues.
    #[error("queues of {0} entries are not possible: they have 2 to {max}", max = ControllerConfig::QUEUE_ENTRIES_MAX)]
    Entries(u32),
    /// An impossible length of admin queues.
    #[error("admin queues of {0} entries are not possible: they have 2 to {max}", max = ControllerConfig::QUEUE_ENTRIES_MAX)]
    AdminEntries(u32),
    /// An impossible amount of data.
    #[error(
        "commands with at most {0} bytes of data are not possible: a power of two from {min} to {max}",
        min = ControllerConfig::TRANSFER_BYTES_MIN, max = ControllerConfig::TRANSFER_BYTES_MAX
    )]
    Transfer(u32),
}

impl ControllerConfig {
    /// Most I/O queue pairs.
    pub const IO_QUEUES_MAX: u16 = 128;
    /// Most interrupt vectors.
    pub const VECTORS_MAX: u16 = 2048;
    /// Most entries of a queue.
    pub const QUEUE_ENTRIES_MAX: u32 = 4096;
    /// Least number of bytes to which the data of a command can be limited.
    pub const TRANSFER_BYTES_MIN: u32 = 8 << 10;
    /// Most bytes of a command's data.
    pub const TRANSFER_BYTES_MAX: u32 = 1 << 20;

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`ControllerConfigError`].
    pub fn check(&self) -> Result<(), ControllerConfigError> {
        if !(1..=Self::IO_QUEUES_MAX).contains(&self.io_queues) {
            return Err(ControllerConfigError::Queues(self.io_queues));
        }
        if !(1..=Self::VECTORS_MAX).contains(&self.vectors) {
            return Err(ControllerConfigError::Vectors(self.vectors));
        }
        if !(2..=Self::QUEUE_ENTRIES_MAX).contains(&self.queue_entries) {
            return Err(ControllerConfigError::Entries(self.queue_entries));
        }
        if !(2..=Self::QUEUE_ENTRIES_MAX).contains(&self.admin_queue_entries) {
            return Err(ControllerConfigError::AdminEntries(self.admin_queue_entries));
        }
        let transfers = Self::TRANSFER_BYTES_MIN..=Self::TRANSFER_BYTES_MAX;
        if !transfers.contains(&self.transfer_bytes) || !self.transfer_bytes.is_power_of_two() {
            return Err(ControllerConfigError::Transfer(self.transfer_bytes));
        }
        Ok(())
    }

    /// MDTS: the most data of a command, as a power of two of 4 KiB.
    pub(crate) fn transfer_pages_shift(&self) -> u8 {
        u8::try_from((self.transfer_bytes >> 12).trailing_zeros()).unwrap_or(0)
    }

    /// Whether controllers have an admin command, as far as that is configured.
    pub(crate) fn has_admin(&self, opcode: AdminOpcode) -> bool {
        self.shadow_doorbells || opcode != AdminOpcode::DOORBELL_BUFFER_CONFIG
    }

    /// Whether controllers have an I/O command, as far as that is configured.
    pub(crate) fn has_io(&self, opcode: IoOpcode) -> bool {
        let bit = match opcode {
            IoOpcode::COMPARE => oncs::COMPARE,
            IoOpcode::DATASET_MANAGEMENT => oncs::DATASET_MANAGEMENT,
            IoOpcode::WRITE_ZEROES => oncs::WRITE_ZEROES,
            IoOpcode::COPY => oncs::COPY,
            IoOpcode::RESERVATION_REGISTER
            | IoOpcode::RESERVATION_REPORT
            | IoOpcode::RESERVATION_ACQUIRE
            | IoOpcode::RESERVATION_RELEASE => oncs::RESERVATIONS,
            _ => 0,
        };
        !self.masked.has(bit)
    }

    /// Geometry of a namespace with the abilities that controllers offer.
    pub(crate) fn offered(&self, mut geometry: Geometry) -> Geometry {
        let masked = self.masked;
        if masked.has(oncs::COMPARE) {
            geometry.operations.compare_blocks_max = 0;
        }
        if masked.has_compare_and_write() {
            geometry.operations.compare_and_write_blocks_max = 0;
        }
        if masked.has(oncs::DATASET_MANAGEMENT) {
            geometry.discard_blocks_max = 0;
        }
        if masked.has(oncs::WRITE_ZEROES) {
            geometry.write_zeroes_blocks_max = 0;
        }
        if masked.has(oncs::COPY) {
            geometry.operations.copy = Default::default();
        }
        geometry
    }
}

impl Default for ControllerConfig {
    /// As many vectors as Windows' driver takes, and so many queues that each doorbell has a cache line of its own.
    fn default() -> Self {
        Self {
            io_queues: 31,
            vectors: 64,
            queue_entries: Self::QUEUE_ENTRIES_MAX,
            admin_queue_entries: Self::QUEUE_ENTRIES_MAX,
            transfer_bytes: Self::TRANSFER_BYTES_MAX,
            mappable_doorbells: true,
            shadow_doorbells: true,
            adaptive_interrupts: true,
            masked: MaskedCommands::default(),
        }
    }
}

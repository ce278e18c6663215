//! Limits of controllers.

use thiserror::Error;

/// Most entries of a queue.
pub(crate) const QUEUE_ENTRIES_MAX: u32 = 4096;

/// MDTS: the most data of a command, as a power of two of 4 KiB: 1 MiB.
pub(crate) const TRANSFER_PAGES_SHIFT: u8 = 8;

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

/// Queues and interrupt vectors of the controllers of a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControllerConfig {
    /// Most I/O queue pairs: 1 to [`ControllerConfig::IO_QUEUES_MAX`].
    pub io_queues: u16,
    /// Interrupt vectors: 1 to [`ControllerConfig::VECTORS_MAX`].
    pub vectors: u16,
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
}

impl ControllerConfig {
    /// Most I/O queue pairs.
    pub const IO_QUEUES_MAX: u16 = 128;
    /// Most interrupt vectors.
    pub const VECTORS_MAX: u16 = 2048;

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
        Ok(())
    }
}

impl Default for ControllerConfig {
    /// As many vectors as Windows' driver takes, and a queue for each but that of the admin queue.
    fn default() -> Self {
        Self { io_queues: 63, vectors: 64 }
    }
}

//! Values of features. Base 2.0, clause 5.27.1.

use luge_block::Durability;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// AB of all ones: no limit of commands in a row.
const UNLIMITED_BURST: u32 = 7;

/// Commands in a row where there is no limit: as many as fit in a queue.
const BURST_MAX: u32 = 4096;

/// Values of features, as a host has set them since the last reset. None can be saved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Features {
    /// CDW11 of Arbitration.
    pub arbitration: u32,
    /// Thresholds of temperatures: of TMPSEL in the upper half, and THSEL in bit 0, of the key.
    pub temperature_thresholds: BTreeMap<u8, u16>,
    /// CDW11 of Error Recovery, of each namespace where it is not zero.
    pub error_recovery: BTreeMap<u32, u32>,
    /// Whether the volatile write cache is used.
    pub write_cache: bool,
    /// I/O submission and completion queues that may be created, zero-based; none before the host has asked.
    pub queues_z: Option<[u16; 2]>,
    /// CDW11 of Interrupt Coalescing.
    pub coalescing: u32,
    /// Vectors whose interrupts do not wait.
    pub without_coalescing: BTreeMap<u16, bool>,
    /// Whether writes longer than AWUPF need not be atomic.
    pub atomicity_off: bool,
    /// CDW11 of Asynchronous Event Configuration.
    pub events: u32,
    /// Host's time in milliseconds, and when it was set in the controller's time, in milliseconds.
    pub timestamp: Option<[u64; 2]>,
    /// Keep alive time-out in milliseconds; zero for none.
    pub keep_alive_ms: u32,
    /// Host identifier; zeroes for none.
    pub host_id: [u8; 16],
    /// Whether the host identifier has 64 bits.
    pub is_short_host_id: bool,
    /// Reservation notifications that are not sent, of each namespace where there are some.
    pub reservation_mask: BTreeMap<u32, u32>,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            arbitration: UNLIMITED_BURST,
            temperature_thresholds: BTreeMap::new(),
            error_recovery: BTreeMap::new(),
            write_cache: true,
            queues_z: None,
            coalescing: 0,
            without_coalescing: BTreeMap::new(),
            atomicity_off: false,
            events: 0,
            timestamp: None,
            keep_alive_ms: 0,
            host_id: [0; 16],
            is_short_host_id: false,
            reservation_mask: BTreeMap::new(),
        }
    }
}

impl Features {
    /// Durability of writes that do not ask for one.
    pub(crate) fn durability(&self) -> Durability {
        if self.write_cache { Durability::Cache } else { Durability::Media }
    }

    /// Commands of a submission queue in a row.
    pub(crate) fn burst(&self) -> u32 {
        match self.arbitration & 7 {
            UNLIMITED_BURST => BURST_MAX,
            shift => 1 << shift,
        }
    }
}

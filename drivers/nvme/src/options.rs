//! What an operator may choose.

use luge_memory::PageSize;
use std::time::Duration;

/// How a controller is driven.
#[derive(Clone, Debug)]
pub struct Options {
    /// Entries of an I/O queue: rounded down to a power of two, and to what the controller has.
    pub queue_entries: u16,
    /// I/O queue pairs to ask for; the controller may grant fewer.
    pub queue_pairs: u16,
    /// How long a command may take before the controller is reset.
    pub command_timeout: Duration,
    /// The pages that queues and bounce buffers are made of.
    pub pages: PageSize,
    /// 4 KiB pages per queue pair for buffers that a PRP cannot describe; at least one transfer's.
    pub bounce_pages: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue_entries: 256,
            queue_pairs: 64,
            command_timeout: Duration::from_secs(30),
            pages: PageSize::default(),
            // With the rings and 256 lists of 256 commands: one hugepage of 2 MiB.
            bounce_pages: 251,
        }
    }
}

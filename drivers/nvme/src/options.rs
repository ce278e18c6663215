//! Options of a controller, which the operator may choose.

use luge_memory::PageSize;
use std::time::Duration;

/// Options of a controller.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of entries of an I/O queue. It is rounded down to a power of two, and to what the controller takes.
    pub queue_entries: u16,
    /// Number of I/O queue pairs to ask for. The controller may grant fewer.
    pub queue_pairs: u16,
    /// Time limit of a command, after which the controller is reset.
    pub command_timeout: Duration,
    /// Kind of the pages for queues and bounce pages.
    pub pages: PageSize,
    /// Number of bounce pages of 4 KiB per queue pair. It is raised to those of the largest transfer.
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

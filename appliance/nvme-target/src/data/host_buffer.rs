//! Memory of a command, for the controller's thread.

use super::collector::{Collected, Collector, Stop};
use super::pointer::DataWalk;
use crate::commands::CommandStatus;
use luge_memory::{GuestMemory, Span, Use};
use luge_spec::nvme::{StatusCode, SubmissionEntry};
use std::sync::Arc;

/// Most spans of a buffer: those of 1 MiB in pages of which no two lie side by side, and more.
const SPANS_MAX: usize = 512;

/// Most entries and descriptors that are looked at for a buffer.
const STEPS_MAX: usize = 1024;

/// Memory of a command that the controller's thread serves: data goes in or out by copies.
pub struct HostBuffer {
    spans: Vec<Span>,
    /// Keeps the spans mapped.
    _memory: Arc<GuestMemory>,
}

impl HostBuffer {
    /// Finds the first `bytes` bytes of the memory of a command, for a use that the controller makes of it. A page of
    /// memory has `page_bytes` bytes.
    ///
    /// # Errors
    /// The status with which the command is to end.
    pub fn find(
        entry: &SubmissionEntry,
        bytes: u32,
        page_bytes: u32,
        purpose: Use,
        memory: &Arc<GuestMemory>,
    ) -> Result<Self, CommandStatus> {
        let mut walk = DataWalk::of(entry, bytes, page_bytes)?;
        let mut spans = vec![Span::EMPTY; SPANS_MAX];
        let mut collector = Collector {
            collected: Collected::new(purpose),
            lookup: &mut memory.lookup(),
            list: &mut spans,
            bucket: None,
            steps: STEPS_MAX,
        };
        let count = match walk.step(&mut collector) {
            Ok(Some(count)) => count,
            Err(Stop::Fault(status)) => return Err(status),
            Ok(None) | Err(Stop::NoRoom) => {
                return Err(CommandStatus::refused(StatusCode::INVALID_SGL_COUNT));
            }
        };
        spans.truncate(count);
        Ok(Self { spans, _memory: memory.clone() })
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

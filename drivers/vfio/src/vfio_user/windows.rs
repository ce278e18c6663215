//! Mapped parts of BAR 0: memory that the server shares.
//!
//! Path: NVMe queue pair -> **doorbell** -> controller.
//!
//! Invariants
//! - Only memory files are mapped: any other could keep a core waiting.
//! - Memory that the server takes away reads as zeroes, and is noticed (`is_intact`).

#![expect(unsafe_code, reason = "mapped registers are spans, made from addresses")]

use crate::reply::Region;
use luge_memory::{PeerMemory, PeerMemoryError, Span};
use rustix::fd::OwnedFd;

/// The most parts of a BAR that are mapped.
const WINDOWS_MAX: usize = 8;

/// The most bytes of a part that is mapped.
const WINDOW_BYTES_MAX: u64 = 16 << 20;

/// Mapped parts of a BAR. Their spans are valid as long as they live.
#[derive(Debug, Default)]
pub struct Windows(Vec<Window>);

#[derive(Debug)]
struct Window {
    first: u32,
    registers: Span,
    memory: PeerMemory,
}

impl Windows {
    /// Maps the parts of `region` that can be mapped by `file`, as far as there are not too many.
    pub fn map(region: &Region, file: &OwnedFd) -> Result<Self, PeerMemoryError> {
        let parts = region.mappable.iter().filter(|&&(_, len)| (1..=WINDOW_BYTES_MAX).contains(&len));
        let windows =
            parts.take(WINDOWS_MAX).filter_map(|&(first, len)| Window::map(region, file, first, len));
        windows.collect::<Result<_, _>>().map(Self)
    }

    /// Span of `len` bytes of registers from `offset`, if they are mapped.
    pub fn registers(&self, offset: u32, len: u32) -> Option<Span> {
        self.0.iter().find_map(|window| window.registers.slice(offset.checked_sub(window.first)?, len))
    }

    /// Whether the server has taken none of the memory away.
    pub fn is_intact(&self) -> bool {
        self.0.iter().all(|window| window.memory.faults() == 0)
    }
}

impl Window {
    /// None where the part is out of the range of registers.
    fn map(region: &Region, file: &OwnedFd, first: u64, len: u64) -> Option<Result<Self, PeerMemoryError>> {
        let (offset, bytes) = (region.offset.checked_add(first)?, u32::try_from(len).ok()?);
        let first = u32::try_from(first).ok()?;
        let memory = match PeerMemory::map(file, offset, len) {
            Ok(memory) => memory,
            Err(error) => return Some(Err(error)),
        };
        // SAFETY: the memory is kept beside the span, by the function that lends it.
        let registers = unsafe { memory.span(0, bytes) }?;
        Some(Ok(Self { first, registers, memory }))
    }
}

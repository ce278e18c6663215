//! Memory of a file that a peer shares: a mapping of whole pages, watched for missing memory.
//!
//! Path: none; memory is mapped before the first request that needs it.
//!
//! Invariants
//! - Only memory files are mapped (`memory_file`). Touching any other could keep a core waiting.
//! - Memory that the peer takes away reads as zeroes, and the peer is cut off (`fault`).
//!
//! Not here: addresses of guests (`guest`); what SSDs reach (`dma_space`).

#![expect(unsafe_code, reason = "spans of shared memory are addresses")]

use crate::fault::{Tie, Watch};
use crate::memory_file::{Unmappable, page_bytes};
use crate::stall::Stalls;
use crate::{Iova, MapError, Mapping, Span};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use thiserror::Error;

/// Error of mapping a peer's memory.
#[derive(Debug, Error)]
pub enum PeerMemoryError {
    /// The file is none that a core may touch.
    #[error("it is in {0}")]
    Unmappable(#[from] Unmappable),
    /// There are more pieces of memory than can be watched.
    #[error("there are too many pieces of shared memory: serve fewer disks")]
    TooMany,
    /// The mapping failed.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// A piece of a memory file of a peer. Unmapped when dropped.
#[derive(Debug)]
pub struct PeerMemory {
    tie: Option<Tie>,
    // Dropped before the memory that it watches.
    pub(crate) watch: Watch,
    pub(crate) mapping: Arc<Mapping>,
    /// Offset of the mapping in the file: mappings start at whole pages.
    pub(crate) first: u64,
    /// Bytes of the mapping before the piece.
    lead: u64,
    len: u64,
}

impl PeerMemory {
    /// Maps `len` bytes of a file from `offset`.
    ///
    /// # Errors
    /// [`PeerMemoryError`]; nothing is mapped then.
    pub fn map(file: impl AsFd, offset: u64, len: u64) -> Result<Self, PeerMemoryError> {
        let page = page_bytes(&file)?;
        let lead = offset % page;
        let first = offset - lead;
        let end = offset.checked_add(len).filter(|_| len > 0);
        let end = end.and_then(|end| end.checked_next_multiple_of(page));
        let whole = end.ok_or(MapError::Shape { offset, len })? - first;
        let mapping = Arc::new(Mapping::new(file, first, whole)?);
        let watch = Watch::new(&mapping).ok_or(PeerMemoryError::TooMany)?;
        Ok(Self { tie: None, watch, mapping, first, lead, len })
    }

    /// Ties the memory to its peer's connection, which is shut down, in both directions, as soon
    /// as this process finds memory missing.
    ///
    /// # Errors
    /// [`PeerMemoryError::TooMany`].
    pub fn tied_to(mut self, connection: &Arc<UnixStream>) -> Result<Self, PeerMemoryError> {
        self.tie = Some(self.watch.tie(connection).ok_or(PeerMemoryError::TooMany)?);
        Ok(self)
    }

    /// Number of accesses that found memory missing.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.watch.faults()
    }

    /// Waits of cores for the memory.
    #[must_use]
    pub fn stalls(&self) -> Stalls {
        Stalls { count: self.watch.stalls(), longest: self.watch.longest_stall() }
    }

    /// `len` bytes from `offset`, which no SSD can reach; none if they are not all in this piece.
    ///
    /// # Safety
    /// The caller keeps this memory until it no longer uses the span.
    #[must_use]
    pub unsafe fn span(&self, offset: u64, len: u32) -> Option<Span> {
        let end = offset.checked_add(len.into())?;
        let host = self.mapping.host_at(self.lead.checked_add(offset)?).filter(|_| end <= self.len)?;
        // SAFETY: inside the mapping, which the caller keeps.
        Some(unsafe { Span::new(host, Iova(0), len) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    fn file(len: u64) -> std::os::fd::OwnedFd {
        let file = memfd_create("peer", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, len).unwrap();
        file
    }

    #[test]
    fn a_piece_may_start_and_end_inside_pages_and_has_spans_in_it_only() {
        let memory = PeerMemory::map(file(0x3000), 0x1010, 0x1020).unwrap();
        // SAFETY: the memory outlives the spans.
        let span = |offset, len| unsafe { memory.span(offset, len) };
        assert_eq!(span(0, 0x1020).unwrap().host().addr().get() % 0x1000, 0x10);
        for (offset, len) in [(0, 0x1021), (0x1020, 1), (1, 0x1020), (u64::MAX, 1), (u64::MAX - 0x100f, 8)] {
            assert!(span(offset, len).is_none(), "{len} bytes at {offset:#x}");
        }
    }

    #[test]
    fn a_piece_that_outgrows_its_file_or_the_numbers_is_refused() {
        let pieces = [(0, 0x3001), (0x3000, 1), (0, 0), (u64::MAX, 2), (0x1000, u64::MAX), (1, u64::MAX - 1)];
        for (offset, len) in pieces {
            let refusal = PeerMemory::map(file(0x3000), offset, len).err();
            assert!(matches!(refusal, Some(PeerMemoryError::Map(_))), "{len:#x} bytes at {offset:#x}");
        }
    }

    #[test]
    fn a_file_that_is_no_memory_is_refused() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(matches!(
            PeerMemory::map(file, 0, 16),
            Err(PeerMemoryError::Unmappable(Unmappable::NotMemory))
        ));
    }

    #[test]
    fn memory_that_was_taken_away_reads_as_zeroes_counts_and_ends_the_connection() {
        let file = file(0x2000);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let memory = PeerMemory::map(&file, 0, 0x2000).unwrap().tied_to(&Arc::new(ours)).unwrap();
        // SAFETY: the memory outlives the span.
        let span = unsafe { memory.span(0x1000, 8) }.unwrap();
        span.fill(7);
        ftruncate(&file, 0x1000).unwrap();
        assert_eq!(span.first::<8>(), Some([0; 8]));
        assert_eq!(memory.faults(), 1);
        let mut byte = [0];
        assert_eq!(std::io::Read::read(&mut &theirs, &mut byte).unwrap(), 0, "the end of the connection");
    }
}

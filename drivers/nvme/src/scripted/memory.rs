//! Memory that a scripted SSD reaches through its IOMMU, and its doorbells.

#![expect(unsafe_code, reason = "a device's view of memory is addresses")]

use luge_memory::{DmaMemory, Iommu, Iova, IovaRange, Mapping, Span};
use std::collections::BTreeMap;
use std::io;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Piece of memory that a double keeps as long as it is used.
pub(crate) fn piece_of(memory: &DmaMemory, offset: u32, len: u32) -> Option<Span> {
    // SAFETY: the function, and with it the double, lives as long as the driver uses its doorbells and queues.
    unsafe { memory.span(offset.into(), len) }
}

struct Mapped {
    host: NonNull<u8>,
    len: u64,
}

// SAFETY: an address; what is behind it is only reached through spans.
unsafe impl Send for Mapped {}

/// IOMMU of a scripted SSD, with the bus master bit of the SSD.
#[derive(Default)]
pub(crate) struct Reach {
    mapped: Mutex<BTreeMap<u64, Mapped>>,
    pub bus_master: AtomicBool,
    faults: AtomicUsize,
}

impl Reach {
    /// Memory at `iova`; none, and a DMA fault, where not all of it is mapped.
    pub(crate) fn span(&self, iova: u64, len: u32) -> Option<Span> {
        let span = self.find(iova, len).filter(|_| self.bus_master.load(Ordering::Relaxed));
        if span.is_none() {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        span
    }

    /// Number of accesses that the IOMMU, or the bus master bit, has refused.
    pub(crate) fn faults(&self) -> usize {
        self.faults.load(Ordering::Relaxed)
    }

    fn find(&self, iova: u64, len: u32) -> Option<Span> {
        let mapped = self.mapped.lock().ok()?;
        let (&first, memory) = mapped.range(..=iova).next_back()?;
        let offset = iova - first;
        if offset.checked_add(len.into())? > memory.len {
            return None;
        }
        // SAFETY: inside the mapping, by the check above.
        let host = unsafe { memory.host.add(usize::try_from(offset).ok()?) };
        // SAFETY: the mapping lives until it is unmapped; an SSD uses spans at once, and the
        // driver unmaps nothing that an enabled SSD was told of: what tests are here to show.
        Some(unsafe { Span::new(host, Iova(iova), len) })
    }
}

impl Iommu for Reach {
    fn usable(&self) -> io::Result<Vec<IovaRange>> {
        Ok(vec![IovaRange { first: 0x1000, last: (1 << 48) - 1 }])
    }

    fn map(&self, iova: Iova, memory: &Mapping) -> io::Result<()> {
        let mapped = Mapped { host: memory.host(), len: memory.len() };
        self.mapped.lock().map_err(|_| io::ErrorKind::Other)?.insert(iova.0, mapped);
        Ok(())
    }

    fn unmap(&self, iova: Iova, _len: u64) -> io::Result<()> {
        self.mapped.lock().map_err(|_| io::ErrorKind::Other)?.remove(&iova.0);
        Ok(())
    }
}

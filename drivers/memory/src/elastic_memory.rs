//! Memory that becomes longer or shorter while it is used.
//!
//! ```text
//!   file of pages  [ 0 | 1 | 2 | 3 ]
//!                    ^   ^
//!   before           A   A+1                  a mapping of two pages
//!   after            B   B+1 B+2 B+3          a mapping of all four: the first two are the same memory
//! ```
//!
//! Invariant: a mapping never changes. Its users go over to the next one when they like, and meanwhile both have the
//! same bytes.

use crate::dma_memory::{map_file, memory_file, no_pages, whole_pages, with_largest_pages};
use crate::{DmaMemory, DmaSpace, MemoryError, NumaNode, PageSize};
use rustix::fs::ftruncate;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// Memory of Luge's own that can be resized.
pub struct ElasticMemory {
    space: Arc<DmaSpace>,
    file: OwnedFd,
    pages: PageSize,
    node: Option<NumaNode>,
    /// The whole of it, as it is now.
    now: Mutex<Arc<DmaMemory>>,
}

impl ElasticMemory {
    /// At least `len` bytes of zeroes, rounded up to whole pages, on `node` where one is given. Where hugepages are asked
    /// for, whole gibibytes are made of 1 GiB pages if there are some.
    ///
    /// # Errors
    /// [`MemoryError`]; nothing is kept then.
    pub fn allocate(
        space: &Arc<DmaSpace>,
        len: u64,
        pages: PageSize,
        node: Option<NumaNode>,
    ) -> Result<Self, MemoryError> {
        with_largest_pages(len, pages, |pages| Self::of_pages(space, len, pages, node))
    }

    fn of_pages(
        space: &Arc<DmaSpace>,
        len: u64,
        pages: PageSize,
        node: Option<NumaNode>,
    ) -> Result<Self, MemoryError> {
        let len = whole_pages(len, pages)?;
        let file = memory_file(pages).map_err(|_| no_pages(len, pages, node))?;
        let now = Arc::new(map(space, &file, len, pages, node)?);
        Ok(Self { space: space.clone(), file, pages, node, now: Mutex::new(now) })
    }

    /// The whole of it. Stays as it is, whatever the memory becomes, but for what was cut off.
    #[must_use]
    pub fn now(&self) -> Arc<DmaMemory> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Appends zeroes, so that there are at least `len` bytes. Not called by two threads at once.
    ///
    /// # Errors
    /// [`MemoryError`]; nothing has changed then.
    pub fn grow(&self, len: u64) -> Result<(), MemoryError> {
        let (len, before) = (whole_pages(len, self.pages)?, self.now().len());
        if len > before {
            let longer = map(&self.space, &self.file, len, self.pages, self.node).inspect_err(|_| {
                // Giving pages back fails only if there are none.
                let _ = ftruncate(&self.file, before);
            })?;
            self.replace(longer);
        }
        Ok(())
    }

    /// Cuts off all but `len` bytes, rounded up to whole pages. Nobody uses what is cut off.
    ///
    /// # Errors
    /// [`MemoryError`]; nothing has changed then.
    pub fn shrink(&self, len: u64) -> Result<(), MemoryError> {
        let len = whole_pages(len, self.pages)?;
        if len < self.now().len() {
            let shorter =
                map_file(&self.file, len, self.node).map_err(|_| no_pages(len, self.pages, self.node))?;
            self.replace(DmaMemory::within(&self.space, shorter)?);
            // It fails for none of the reasons that there are: the file is ours, and it becomes shorter.
            let _ = ftruncate(&self.file, len);
        }
        Ok(())
    }

    fn replace(&self, memory: DmaMemory) {
        let before = {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *now, Arc::new(memory))
        };
        // Without the lock: unmapping takes long.
        drop(before);
    }
}

/// Makes a file `len` bytes long, and maps all of it.
fn map(
    space: &Arc<DmaSpace>,
    file: &OwnedFd,
    len: u64,
    pages: PageSize,
    node: Option<NumaNode>,
) -> Result<DmaMemory, MemoryError> {
    let mapped = ftruncate(file, len).map_err(Into::into).and_then(|()| map_file(file, len, node));
    DmaMemory::within(space, mapped.map_err(|_| no_pages(len, pages, node))?)
}

#[cfg(test)]
#[expect(unsafe_code, reason = "spans of memory that the tests keep")]
mod tests {
    use super::*;

    fn memory(len: u64) -> ElasticMemory {
        ElasticMemory::allocate(&DmaSpace::new(), len, PageSize::Base, None).unwrap()
    }

    fn write(memory: &DmaMemory, offset: u64, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).unwrap();
        // SAFETY: the memory stays until the write has ended.
        let span = unsafe { memory.span(offset, len) }.unwrap();
        assert_eq!(span.write(bytes), bytes.len());
    }

    fn read(memory: &DmaMemory, offset: u64) -> [u8; 4] {
        let mut bytes = [0xee; 4];
        // SAFETY: the memory stays until the read has ended.
        unsafe { memory.span(offset, 4) }.unwrap().read(&mut bytes);
        bytes
    }

    #[test]
    fn both_mappings_have_the_same_bytes_after_a_growth_and_new_ones_are_zeroes() {
        let memory = memory(8192);
        let before = memory.now();
        write(&before, 8000, b"abcd");
        memory.grow(20_000).unwrap();
        let after = memory.now();
        assert_eq!(before.len(), 8192);
        assert_eq!(after.len(), 20_480);
        assert_eq!(&read(&after, 8000), b"abcd");
        assert_eq!(read(&after, 8192), [0; 4]);
        write(&after, 0, b"efgh");
        assert_eq!(&read(&before, 0), b"efgh");
    }

    #[test]
    fn what_was_cut_off_comes_back_as_zeroes() {
        let memory = memory(16_384);
        write(&memory.now(), 0, b"abcd");
        write(&memory.now(), 12_288, b"efgh");
        memory.shrink(4096).unwrap();
        assert_eq!(memory.now().len(), 4096);
        memory.grow(16_384).unwrap();
        assert_eq!(&read(&memory.now(), 0), b"abcd");
        assert_eq!(read(&memory.now(), 12_288), [0; 4]);
    }

    #[test]
    fn a_growth_that_is_not_possible_changes_nothing() {
        let memory = memory(4096);
        write(&memory.now(), 0, b"abcd");
        assert!(memory.grow(1 << 62).is_err());
        assert!(memory.grow(u64::MAX).is_err());
        assert_eq!(memory.now().len(), 4096);
        assert_eq!(&read(&memory.now(), 0), b"abcd");
        memory.grow(8192).unwrap();
    }
}

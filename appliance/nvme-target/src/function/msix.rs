//! Table of MSI-X vectors, and their pending bits.
//!
//! The client delivers interrupts: it reads the table, masks vectors, and says by eventfds what each one signals. So the
//! table is memory that keeps what was written, and nothing is ever pending.

use super::layout::{msix_len, table_len};
use luge_spec::pci::MsixEntry;

/// Mask bit of a vector, in the last word of its entry. Set after a reset.
const MASKED: u8 = 1;

/// Offset of the byte with the mask bit in an entry.
const MASK_AT: usize = 12;

/// Table of MSI-X vectors.
pub(super) struct MsixTable {
    vectors: u16,
    bytes: Vec<u8>,
}

impl MsixTable {
    pub(super) fn new(vectors: u16) -> Self {
        let entry = (0..size_of::<MsixEntry>()).map(|at| if at == MASK_AT { MASKED } else { 0 });
        let bytes = std::iter::repeat_n(entry, vectors.into()).flatten().collect();
        Self { vectors, bytes }
    }

    /// Length of the BAR.
    pub(super) fn len(&self) -> u64 {
        msix_len(self.vectors)
    }

    /// Resets the table.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.vectors);
    }

    /// Bytes of the BAR from `at` on.
    pub(super) fn read(&self, at: u64, data: &mut [u8]) {
        let skipped = usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = self.bytes.iter().copied().skip(skipped).chain(std::iter::repeat(0));
        data.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    }

    /// Stores bytes in the table; those beside it have no effect.
    pub(super) fn write(&mut self, at: u64, data: &[u8]) {
        debug_assert!(self.bytes.len() as u64 <= table_len(self.vectors), "a table is in whole pages");
        let skipped = usize::try_from(at).unwrap_or(usize::MAX);
        self.bytes.iter_mut().skip(skipped).zip(data).for_each(|(to, byte)| *to = *byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_keeps_what_is_written_and_nothing_is_pending() {
        let mut table = MsixTable::new(2);
        table.write(16, &[7; 16]);
        table.write(32, &[9; 8]);
        let mut data = [1; 24];
        table.read(16, &mut data);
        assert_eq!(data[..16], [7; 16]);
        assert_eq!(data[16..], [0; 8], "past the table");
        let mut pending = [1; 8];
        table.read(4096, &mut pending);
        assert_eq!(pending, [0; 8]);
    }

    #[test]
    fn vectors_are_masked_after_a_reset() {
        let mut table = MsixTable::new(2);
        table.write(28, &[0; 4]);
        table.reset();
        let mut control = [0; 4];
        table.read(28, &mut control);
        assert_eq!(u32::from_le_bytes(control), 1);
    }
}

//! Layout of the function's BARs.
//!
//! ```text
//!   BAR0  0000h  registers of the controller: by messages
//!         1000h  doorbells: whole pages, which clients map
//!   BAR4  0      table of MSI-X vectors, and their pending bits in the page after it
//! ```
//!
//! The pages of doorbells have a BAR of their own with the registers, because some clients know a single area that can
//! be mapped and want it at 1000h.

use luge_spec::pci::MsixEntry;

/// Offset of the doorbells in BAR0.
pub(super) const DOORBELLS: u64 = luge_spec::nvme::offset::DOORBELLS as u64;

/// Number of the BAR with the registers.
pub(super) const REGISTERS_BAR: u32 = 0;

/// Number of the BAR with the MSI-X table.
pub(super) const MSIX_BAR: u8 = 4;

/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;

/// Bytes of a vector in the table.
const ENTRY_BYTES: u64 = size_of::<MsixEntry>() as u64;

/// Length of BAR0 with that many bytes of doorbells: a power of two, and 16 KiB at least, as drivers expect of an SSD.
pub(super) fn registers_len(doorbells: u64) -> u64 {
    DOORBELLS.saturating_add(doorbells).next_power_of_two().max(PAGE_BYTES.saturating_mul(4))
}

/// Length of the table of MSI-X vectors, in whole pages.
pub(super) fn table_len(vectors: u16) -> u64 {
    u64::from(vectors).saturating_mul(ENTRY_BYTES).next_multiple_of(PAGE_BYTES)
}

/// Length of BAR4: the table, and the pending bits.
pub(super) fn msix_len(vectors: u16) -> u64 {
    table_len(vectors).saturating_add(PAGE_BYTES).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_powers_of_two_that_hold_what_is_in_them() {
        assert_eq!(registers_len(4096), 0x4000);
        assert_eq!(registers_len(16 << 10), 0x8000);
        assert_eq!(table_len(64), 0x1000);
        assert_eq!(msix_len(64), 0x2000);
        assert_eq!(table_len(2048), 0x8000);
        assert_eq!(msix_len(2048), 0x10000);
    }
}

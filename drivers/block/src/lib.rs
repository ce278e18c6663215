//! The block contract, with memory, null and file devices and the test doubles.

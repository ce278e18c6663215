//! Hugepage DMA memory, guest memory, address types and the only accessors to shared memory.

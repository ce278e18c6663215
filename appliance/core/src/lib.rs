//! The reactor: one pinned thread per core, its mailbox, its loop, its sleep.

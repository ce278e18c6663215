//! Admin commands, on the thread of the client's connection.
//!
//! Path: admin queue -> session -> relay -> **here** -> a task on the session's core.
//!
//! Invariants
//! - A command that is refused before it starts touches no memory of its host.
//! - A command that waits for others (events, deletions, formats) is answered later; the thread goes on.
//! - Every refusal is in the error log, and its completion says so (More).
//!
//! Not here: commands of I/O queues (`commands`).

mod attachment;
mod dispatch;
mod features;
mod format;
mod host_data;
mod identify;
mod log_pages;
mod outcome;
mod queues;

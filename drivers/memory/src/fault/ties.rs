//! Connections to be shut down when watched memory is missing, for the handler of SIGBUS.
//!
//! Memory that several front ends share has a tie for each of them.
//!
//! Invariants
//! - A descriptor in the table is open: its entry is freed before it is closed, and not while a handler
//!   shuts it down.
//! - Everything that a handler calls here is atomics and system calls.

#![expect(unsafe_code, reason = "the table has file descriptors as numbers")]

use rustix::net::{Shutdown, shutdown};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Maximum number of ties: of 256 front ends with 256 regions each.
const TIES_MAX: usize = 1 << 16;

/// Value of a free entry. Others are the index of a range plus one, and a file descriptor.
const FREE: u64 = 0;

/// Flag of an entry whose connection a handler is shutting down.
const IN_USE: u64 = 1 << 63;

static TIES: [AtomicU64; TIES_MAX] = [const { AtomicU64::new(FREE) }; TIES_MAX];

/// Number of entries, from the first, that were ever used.
static USED: AtomicUsize = AtomicUsize::new(0);

/// An entry of the table. Free when dropped.
#[derive(Debug)]
pub(super) struct TieSlot {
    index: usize,
    entry: u64,
}

impl TieSlot {
    /// Ties a connection, which outlives the slot, to a range; none if all entries are in use.
    pub(super) fn take(range: u32, connection: &UnixStream) -> Option<Self> {
        let entry = entry_of(range, connection.as_raw_fd());
        let take =
            |tie: &AtomicU64| tie.compare_exchange(FREE, entry, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        let index = TIES.iter().position(take)?;
        USED.fetch_max(index + 1, Ordering::SeqCst);
        Some(Self { index, entry })
    }
}

impl Drop for TieSlot {
    fn drop(&mut self) {
        let Some(tie) = TIES.get(self.index) else { return };
        // A handler on another thread has it for one system call.
        while tie.compare_exchange_weak(self.entry, FREE, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            std::thread::yield_now();
        }
    }
}

fn entry_of(range: u32, descriptor: RawFd) -> u64 {
    (u64::from(range) + 1) << 32 | u64::from(descriptor.cast_unsigned())
}

/// Shuts down the connections that are tied to a range: their readers see the end of the stream.
pub(super) fn cut_off(range: u32) {
    for tie in TIES.iter().take(USED.load(Ordering::SeqCst)) {
        let entry = tie.load(Ordering::SeqCst);
        if entry & !IN_USE & !u64::from(u32::MAX) == entry_of(range, 0) {
            shut_down(tie, entry);
        }
    }
}

/// Shuts down the connection of a tie, unless the tie has gone or another handler does it.
fn shut_down(tie: &AtomicU64, entry: u64) {
    let in_use = entry | IN_USE;
    if entry == in_use || tie.compare_exchange(entry, in_use, Ordering::SeqCst, Ordering::Relaxed).is_err() {
        return;
    }
    let descriptor = u32::try_from(entry & u64::from(u32::MAX)).unwrap_or(0).cast_signed();
    // SAFETY: it is open until the tie is free, which waits for the flag.
    let connection = unsafe { BorrowedFd::borrow_raw(descriptor) };
    // It fails only if the other side has gone already.
    let _ = shutdown(connection, Shutdown::Both);
    tie.store(entry, Ordering::SeqCst);
}

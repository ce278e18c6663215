//! Handler of SIGBUS for guest memory that its front end takes away.
//!
//! A front end may shorten the file that its guest's memory is (`ftruncate`, or a hole in
//! hugepages that are used up). An access to those pages then raises SIGBUS, which would end
//! this process and every other guest's disks. So a fault inside a watched range puts zeroes of
//! our own there, from the page of the fault to the end of the range, and the thread goes on.
//! Only that guest loses data, and its front end's connection is shut down.
//!
//! ```text
//!   SIGBUS --- 1 a page that is missing, in a watched range ---> zeroes there, counted,
//!                                                                its connection shut down, go on
//!          --- 2 anything else ---> what SIGBUS did before us, which ends the process
//! ```
//!
//! Invariants
//! - The handler only loads and stores atomics and makes a few system calls: it may interrupt anything.
//! - A range is watched before its first byte is touched, and until after the last.
//! - To the end of the range, because files are cut off at the end: what lies behind a missing
//!   page is missing too, and a front end that cuts once costs us one fault.
//! - Hardware memory errors are not handled here: zeroes in place of data would be wrong data.
//!
//! Not here: system calls that touch such memory; they fail with EFAULT.

#![expect(unsafe_code, reason = "a signal handler, and a mapping at an address of our choice")]

use crate::Mapping;
use rustix::net::{Shutdown, shutdown};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};

/// Maximum number of watched ranges.
const RANGES: usize = 1 << 14;

/// Values of `first` for a free entry, and for one that is being filled.
const FREE: usize = 0;
const FILLING: usize = 1;

/// Value of `connection` for a range without one.
const NONE: i32 = -1;

static TABLE: [Range; RANGES] = [const { Range::new() }; RANGES];

/// Previous action of SIGBUS.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// A watched range of addresses.
struct Range {
    first: AtomicUsize,
    len: AtomicUsize,
    /// Page size in bytes: a hugepage can only be replaced as a whole.
    page: AtomicUsize,
    /// File descriptor of the connection to shut down when memory is missing.
    connection: AtomicI32,
    faults: AtomicU64,
}

impl Range {
    const fn new() -> Self {
        Self {
            first: AtomicUsize::new(FREE),
            len: AtomicUsize::new(0),
            page: AtomicUsize::new(0),
            connection: AtomicI32::new(NONE),
            faults: AtomicU64::new(0),
        }
    }

    /// Fills the entry, if it is free.
    fn take(&self, first: usize, len: usize, page: usize) -> bool {
        if self.first.compare_exchange(FREE, FILLING, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        // A handler that still sees the old `first` must see the old length with it, or find
        // `first` changed when it looks again.
        fence(Ordering::Release);
        self.len.store(len, Ordering::Relaxed);
        self.page.store(page, Ordering::Relaxed);
        self.connection.store(NONE, Ordering::Relaxed);
        self.faults.store(0, Ordering::Relaxed);
        // Whoever sees the address sees the rest.
        self.first.store(first, Ordering::Release);
        true
    }

    /// Start of the page with `address`, and the bytes from there to the range's end; none if
    /// the address is not in the range.
    fn rest(&self, address: usize) -> Option<(usize, usize)> {
        let first = self.first.load(Ordering::Acquire);
        let (len, page) = (self.len.load(Ordering::Relaxed), self.page.load(Ordering::Relaxed));
        // What was loaded belongs together only if `first` is still the same afterwards.
        fence(Ordering::Acquire);
        let same = first > FILLING && self.first.load(Ordering::Relaxed) == first;
        let offset = address.checked_sub(first).filter(|&offset| same && offset < len)?;
        let start = offset - offset.checked_rem(page)?;
        Some((first + start, len - start))
    }

    /// Shuts down the connection to the process that took the memory away: its reader sees the
    /// end of the stream.
    fn cut_off(&self) {
        let connection = self.connection.load(Ordering::Relaxed);
        if connection != NONE {
            // SAFETY: the watch keeps it open, and is kept as long as the range is touched.
            let connection = unsafe { BorrowedFd::borrow_raw(connection) };
            // It fails only if the other side has gone already.
            let _ = shutdown(connection, Shutdown::Both);
        }
    }
}

/// Watch over a range, until dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    index: usize,
    connection: Option<Arc<UnixStream>>,
}

impl Watch {
    /// Watches a mapping with pages of `page_bytes`; none if too many ranges are watched.
    pub fn new(memory: &Mapping, page_bytes: u64) -> Option<Self> {
        BEFORE.get_or_init(install);
        let len = usize::try_from(memory.len()).ok()?;
        let page = usize::try_from(page_bytes).ok()?;
        let first = memory.host().addr().get();
        TABLE
            .iter()
            .position(|range| range.take(first, len, page))
            .map(|index| Self { index, connection: None })
    }

    /// Sets the connection to shut down when memory is missing. Must precede the first access.
    pub fn tie(&mut self, connection: Arc<UnixStream>) {
        if let Some(range) = TABLE.get(self.index) {
            range.connection.store(connection.as_raw_fd(), Ordering::Relaxed);
            // One that was here before is closed only now, when the range does not know it any more.
            self.connection = Some(connection);
        }
    }

    /// Number of accesses that found memory missing.
    pub fn faults(&self) -> u64 {
        TABLE.get(self.index).map_or(0, |range| range.faults.load(Ordering::Relaxed))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(range) = TABLE.get(self.index) {
            range.first.store(FREE, Ordering::Release);
        }
    }
}

/// Installs the SIGBUS handler; returns the previous action.
fn install() -> libc::sigaction {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all of it zero is a valid `sigaction`: the default action.
    let mut ours = unsafe { before.assume_init() };
    ours.sa_sigaction = on_bus_error as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `ours` names a handler of the kind that its flags say.
    unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, before.as_mut_ptr()) };
    // SAFETY: zeroes, or what the call has written.
    unsafe { before.assume_init() }
}

extern "C" fn on_bus_error(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel hands a handler with SA_SIGINFO a `siginfo_t`.
    let info = unsafe { &*info };
    // SAFETY: SIGBUS from the kernel carries an address; from others it is not used.
    let address = unsafe { info.si_addr() }.addr();
    if info.si_code == libc::BUS_ADRERR && replace(address) {
        return;
    }
    give_up(info.si_code);
}

/// Maps zeroes where memory is missing; false if the address is in no watched range.
fn replace(address: usize) -> bool {
    let Some((range, (first, len))) = TABLE.iter().find_map(|range| Some((range, range.rest(address)?)))
    else {
        return false;
    };
    // Counted first: who sees the end of the connection is to see why. The system call is a
    // barrier on both sides.
    range.faults.fetch_add(1, Ordering::Relaxed);
    range.cut_off();
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: whole pages of a mapping that its owner keeps while it is watched, and that
    // Rust knows by raw pointers only.
    let now = unsafe { libc::mmap(ptr::without_provenance_mut(first), len, access, kind, -1, 0) };
    now != libc::MAP_FAILED
}

/// Restores the previous action of SIGBUS, for when the thread repeats its access. A signal that
/// was sent by a process has no access to repeat: it is raised again with the default action.
fn give_up(code: libc::c_int) {
    let default = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: as in `install`.
    let default = unsafe { default.assume_init() };
    let sent = code <= 0;
    let next = BEFORE.get().copied().filter(|_| !sent).unwrap_or(default);
    // SAFETY: what was in force before, or the default.
    unsafe { libc::sigaction(libc::SIGBUS, &raw const next, ptr::null_mut()) };
    if sent {
        // SAFETY: it is blocked until the handler returns.
        unsafe { libc::raise(libc::SIGBUS) };
    }
}

//! The ring of records that the kernel writes for an event, the newest first.
//!
//! Invariant: only the thread that reads the ring makes records, and not while it reads.

#![expect(unsafe_code, reason = "the ring is mapped memory")]

use super::event;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::os::fd::OwnedFd;
use std::ptr::{self, NonNull};

/// Bytes of a page.
const PAGE: usize = 4096;

/// Words of the ring, a power of two: room for about 700 faults.
const WORDS: usize = 4 * PAGE / 8;

/// Offset of `data_head` in the first page, in words.
const HEAD_WORD: usize = 1024 / 8;

const RECORD_SAMPLE: u32 = 9;
const RECORD_SWITCH: u32 = 14;
const SWITCH_OUT: u16 = 1 << 13;
const SWITCH_OUT_PREEMPTED: u16 = 1 << 14;

/// A record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record {
    /// Time, in nanoseconds.
    pub(super) time: u64,
    pub(super) event: Event,
}

/// Events of a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// An access to an address whose page was not there.
    Fault(usize),
    /// The thread goes to sleep.
    Sleep,
    /// The CPU is given to another thread.
    Preempted,
    /// The thread runs again.
    Runs,
    /// Something else.
    Other,
}

/// The ring of an event.
pub(super) struct Records {
    first_page: NonNull<u64>,
    _event: OwnedFd,
}

impl Records {
    /// Opens the event for the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        let event = event::open()?;
        // SAFETY: new addresses, which nobody uses. Read-only: the kernel overwrites old records then.
        let ring = unsafe {
            mmap(
                ptr::null_mut(),
                PAGE + WORDS * 8,
                ProtFlags::READ,
                MapFlags::SHARED | MapFlags::POPULATE,
                &event,
                0,
            )
        };
        let first_page = NonNull::new(ring?.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { first_page, _event: event })
    }

    /// The records, the newest first, as far as they are not overwritten.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = Record> {
        let (mut at, mut left) = (self.word(HEAD_WORD) / 8, WORDS as u64);
        std::iter::from_fn(move || {
            let header = self.data(at);
            let words = u64::from(u16::try_from(header >> 48).unwrap_or(0)) / 8;
            if words == 0 || words > left {
                return None;
            }
            let record = record(header, self.data(at.wrapping_add(1)), self.data(at.wrapping_add(2)));
            at = at.wrapping_add(words);
            left -= words;
            Some(record)
        })
    }

    /// A word of the data pages, which are a ring.
    fn data(&self, at: u64) -> u64 {
        let index = usize::try_from(at % WORDS as u64).unwrap_or(0);
        self.word(PAGE / 8 + index)
    }

    fn word(&self, index: usize) -> u64 {
        debug_assert!(index < (PAGE / 8) + WORDS);
        // SAFETY: inside the mapping: the first page and the ring.
        let word = unsafe { self.first_page.as_ptr().add(index) };
        // SAFETY: as above; the kernel writes it only while the thread is in the kernel.
        unsafe { word.read_volatile() }
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        // SAFETY: the ring's own addresses, which nobody uses any more.
        let _ = unsafe { munmap(self.first_page.as_ptr().cast(), PAGE + WORDS * 8) };
    }
}

/// Parses a record: its header (type, flags, size), and the two words behind.
fn record(header: u64, time: u64, address: u64) -> Record {
    let kind = u32::try_from(header & u64::from(u32::MAX)).unwrap_or(0);
    let flags = u16::try_from(header >> 32 & u64::from(u16::MAX)).unwrap_or(0);
    let event = match kind {
        RECORD_SAMPLE => Event::Fault(usize::try_from(address).unwrap_or(0)),
        RECORD_SWITCH if flags & SWITCH_OUT == 0 => Event::Runs,
        RECORD_SWITCH if flags & SWITCH_OUT_PREEMPTED == 0 => Event::Sleep,
        RECORD_SWITCH => Event::Preempted,
        _ => Event::Other,
    };
    Record { time, event }
}

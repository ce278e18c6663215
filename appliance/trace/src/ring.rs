//! A ring of entries: any thread adds to it, one reads it.
//!
//! A place's sequence number is cleared before its words change, and set after that. Who reads loads it before and
//! after the words, and passes over what has changed meanwhile. Two threads write one place at a time only if one of
//! them was held up for a whole round of the ring; the text is mixed then.

use crate::entry::{Event, WORDS};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;

/// Entries of a ring: 64 KiB.
pub(crate) const ENTRIES: u64 = 1024;

type Place = [AtomicU64; WORDS];

/// Ring of one core, or of all threads that are none.
pub(crate) struct Ring {
    places: Box<[Place]>,
    /// Number of entries ever taken.
    head: AtomicU64,
}

impl Ring {
    pub(crate) fn new() -> Self {
        let place = |_| std::array::from_fn(|_| AtomicU64::new(0));
        Self { places: (0..ENTRIES).map(place).collect(), head: AtomicU64::new(0) }
    }

    /// Adds an event.
    pub(crate) fn push(&self, event: &Event<'_>, time_ns: u64) {
        let entries = event.entries();
        let first = self.head.fetch_add(entries as u64, Relaxed);
        for (index, number) in (0..entries).zip(first..) {
            let Some([sequence, words @ ..]) = self.place(number) else { return };
            sequence.store(0, Relaxed);
            fence(Release);
            for (word, value) in words.iter().zip(event.words(index, time_ns)) {
                word.store(value, Relaxed);
            }
            sequence.store(number + 1, Release);
        }
    }

    /// Number of entries ever taken.
    pub(crate) fn taken(&self) -> u64 {
        self.head.load(Acquire)
    }

    /// Words of an entry, by its number from 0; none that is being written or was overwritten.
    pub(crate) fn read(&self, number: u64) -> Option<[u64; WORDS]> {
        let place = self.place(number)?;
        let [sequence, ..] = place;
        let before = sequence.load(Acquire);
        let words = place.each_ref().map(|word| word.load(Relaxed));
        fence(Acquire);
        (before == number + 1 && sequence.load(Relaxed) == before).then_some(words)
    }

    fn place(&self, number: u64) -> Option<&Place> {
        self.places.get(usize::try_from(number % ENTRIES).ok()?)
    }
}

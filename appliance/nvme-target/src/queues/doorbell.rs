//! Doorbell of one queue.

use luge_memory::SharedArray;
use std::sync::atomic::Ordering::{Acquire, Release};

/// Value of a doorbell that is out of range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InvalidDoorbell;

/// Value out of range that a doorbell has, and that was reported; none if its last value was in range.
#[derive(Default)]
pub(crate) struct Refused(Option<u32>);

impl Refused {
    /// Notes a value in range.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// Reports a value out of range.
    ///
    /// # Errors
    /// [`InvalidDoorbell`], once for each value.
    #[inline]
    pub(crate) fn refuse(&mut self, value: u32) -> Result<(), InvalidDoorbell> {
        if self.0.replace(value) == Some(value) { Ok(()) } else { Err(InvalidDoorbell) }
    }
}

/// Doorbell of a queue.
#[derive(Clone, Copy)]
pub(crate) struct Doorbell {
    word: SharedArray<u32>,
    /// Event index of a shadow doorbell: the value after which the host writes the register, too.
    event: Option<SharedArray<u32>>,
}

impl Doorbell {
    pub(crate) const fn new(word: SharedArray<u32>, event: Option<SharedArray<u32>>) -> Self {
        Self { word, event }
    }

    /// The value that the host has stored. What it stored before is seen after this.
    #[inline]
    pub(crate) fn load(&self) -> u32 {
        self.word.load(0, Acquire)
    }

    /// Stores a value in the host's place.
    pub(crate) fn store(&self, value: u32) {
        self.word.store(0, value, Release);
    }

    /// Asks the host to write the register after the value has passed `value`.
    pub(crate) fn set_event(&self, value: u32) {
        self.event.inspect(|event| event.store(0, value, Release));
    }
}

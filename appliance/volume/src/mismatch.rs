//! Places in which comparisons have failed, for protocols that tell them.

use heapless::Deque;
use luge_block::Tag;

/// Number of comparisons that are remembered.
const REMEMBERED: usize = 64;

/// The last comparisons of a core that found a difference.
#[derive(Default)]
pub(crate) struct Mismatches(Deque<Mismatch, REMEMBERED>);

struct Mismatch {
    session: u16,
    slot: u16,
    byte: u64,
}

impl Mismatches {
    /// Notes the place for a request, instead of the oldest one if there are too many.
    pub(crate) fn note(&mut self, tag: Tag, byte: u64) {
        if self.0.is_full() {
            self.0.pop_front();
        }
        // There is room.
        let _ = self.0.push_back(Mismatch { session: tag.session(), slot: tag.slot(), byte });
    }

    /// Place that was noted last for the request in a slot of a session.
    pub(crate) fn of(&self, session: u16, slot: u16) -> Option<u64> {
        let mut latest = self.0.iter().rev();
        latest.find(|found| (found.session, found.slot) == (session, slot)).map(|found| found.byte)
    }
}

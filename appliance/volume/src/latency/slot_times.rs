//! Times at which the requests in the slots of sessions began.

use luge_block::Tag;

/// Times at which the requests of one session began, by slot. Made by the thread that puts the session on a core.
#[derive(Debug, Default)]
pub struct SlotTimes(Box<[u64]>);

impl SlotTimes {
    /// Times of so many slots.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self(vec![0; slots].into_boxed_slice())
    }
}

/// Times of all sessions of a core, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct SessionTimes(Vec<SlotTimes>);

impl SessionTimes {
    /// Gives a session its times; those that its number had before come back.
    pub(crate) fn open(&mut self, session: u16, times: &mut SlotTimes) {
        let index = usize::from(session);
        if index >= self.0.len() {
            self.0.resize_with(index + 1, SlotTimes::default);
        }
        if let Some(place) = self.0.get_mut(index) {
            std::mem::swap(place, times);
        }
    }

    /// Notes the time at which requests, all of one session, began.
    pub(crate) fn note(&mut self, tags: impl Iterator<Item = Tag>, now: u64) {
        let mut tags = tags.peekable();
        let session = tags.peek().map_or(0, |tag| tag.session());
        let Some(SlotTimes(times)) = self.0.get_mut(usize::from(session)) else { return };
        for tag in tags {
            debug_assert_eq!(tag.session(), session, "a run is of one session");
            if let Some(time) = times.get_mut(usize::from(tag.slot())) {
                *time = now;
            }
        }
    }

    /// Times of a session; none of one that has not said how many slots it has.
    pub(crate) fn of(&self, session: u16) -> &[u64] {
        self.0.get(usize::from(session)).map_or(&[], |SlotTimes(times)| times)
    }
}

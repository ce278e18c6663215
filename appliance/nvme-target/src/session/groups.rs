//! Reads and writes at the head of a queue that are of several namespaces: those of each namespace are served together.
//!
//! A command that no run takes stays at its place, and those behind it that were taken are passed by the head later. It is
//! served by itself when it is the first of its queue.

use super::attempt::Served;
use super::candidates::Candidates;
use super::queue_session::QueueSession;
use super::transfer::namespace_of_transfer;
use super::turn::Turn;
use crate::ids::NamespaceId;
use crate::queues::{Piece, Places, SubmissionQueue};
use luge_volume::Graph;

/// Number of groups; namespaces whose identifiers differ by a multiple of it share one.
const GROUPS: u32 = 64;

/// Reads and writes of a window, by namespace.
struct Groups {
    places: [Places; GROUPS as usize],
    /// Groups that have any.
    used: Places,
}

impl Groups {
    /// The reads and writes among the commands of a window that wait. Whoever serves them loads their entries again.
    fn of(window: &Piece<8>, waiting: Places) -> Self {
        let mut groups = Self { places: [Places::default(); GROUPS as usize], used: Places::default() };
        for place in waiting.iter() {
            let start = window.entries.get_word::<0>(window.first.wrapping_add(place));
            start.and_then(namespace_of_transfer).into_iter().for_each(|id| groups.add(id, place));
        }
        groups
    }

    #[inline]
    fn add(&mut self, id: NamespaceId, place: u32) {
        let group = id.0 % GROUPS;
        self.used = self.used.either(Places::one(group));
        let places = self.places.get_mut(group as usize);
        places.into_iter().for_each(|places| *places = places.either(Places::one(place)));
    }

    fn iter(&self) -> impl Iterator<Item = Places> {
        self.used.iter().filter_map(|group| self.places.get(group as usize).copied())
    }
}

/// Whether the first two commands of a queue are reads or writes of different namespaces.
#[inline]
pub(super) fn are_of_different_namespaces(queue: &SubmissionQueue) -> bool {
    let Some(Piece { entries, first, len: 2.. }) = queue.next(2) else { return false };
    let namespace = |index| entries.get_word::<0>(index).and_then(namespace_of_transfer);
    match (namespace(first), namespace(first.wrapping_add(1))) {
        (Some(one), Some(other)) => one != other,
        _ => false,
    }
}

impl QueueSession {
    /// Serves reads and writes in the window of the queue with that index: `most` of them at most.
    #[inline(never)]
    pub(super) fn serve_groups(
        &mut self,
        graph: &mut Graph,
        index: u16,
        most: usize,
        turn: &mut Turn,
    ) -> Served {
        let Some(queue) = self.queue(index) else { return Served::None };
        let Some(window) = queue.window() else { return Served::None };
        let groups = Groups::of(&window, queue.waiting_in(&window));
        let head = queue.head();
        let (mut taken, mut is_full) = (0_usize, false);
        for places in groups.iter() {
            let left = most.saturating_sub(taken).min(turn.room);
            let places = places.up_to(u32::try_from(left).unwrap_or(u32::MAX));
            if places.is_empty() || !turn.goes_on() {
                break;
            }
            let passed = self.queue(index).map_or(0, |queue| queue.passed_since(head));
            match self.serve_run(graph, index, Candidates::At(places.ahead_of(passed)), turn) {
                Served::Some(count) => taken = taken.wrapping_add(count),
                Served::Full(count) => (taken, is_full) = (taken.wrapping_add(count), true),
                // Commands that no run takes cost as much as others: one attempt is enough.
                Served::None => break,
            }
        }
        match taken {
            _ if is_full => Served::Full(taken),
            0 => Served::None,
            _ => Served::Some(taken),
        }
    }
}

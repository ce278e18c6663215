//! Numbered places of a graph's parts: the list of what is there, and the numbers that are free.

use std::ops::{Deref, DerefMut};

/// Most places: as many as numbers of 16 bits.
const PLACES_MAX: usize = 1 << 16;

/// Numbered places, some of which are free. Adding one takes the same time however many there are.
pub(crate) struct Places<T> {
    /// Does not move when it grows: its memory is reserved, and used as far as there are places.
    places: Vec<Option<T>>,
    /// Free numbers below the end of the list.
    free: Vec<u16>,
}

impl<T> Places<T> {
    /// No places yet, with memory reserved for all.
    pub(crate) fn new() -> Self {
        Self { places: Vec::with_capacity(PLACES_MAX), free: Vec::new() }
    }

    /// Adds what `make` makes for a free number; none, and nothing is made, if all numbers are taken.
    pub(crate) fn add(&mut self, make: impl FnOnce(u16) -> T) -> Option<u16> {
        let Some(id) = self.free.pop() else {
            let id = u16::try_from(self.places.len()).ok()?;
            self.places.push(Some(make(id)));
            return Some(id);
        };
        if let Some(place) = self.places.get_mut(usize::from(id)) {
            *place = Some(make(id));
        }
        Some(id)
    }

    /// Takes out what has a number, which is free then.
    pub(crate) fn remove(&mut self, id: u16) -> Option<T> {
        let removed = self.places.get_mut(usize::from(id))?.take()?;
        self.free.push(id);
        Some(removed)
    }

    /// Whether all numbers are taken.
    pub(crate) fn are_full(&self) -> bool {
        self.free.is_empty() && self.places.len() == PLACES_MAX
    }
}

impl<T> Deref for Places<T> {
    type Target = [Option<T>];

    fn deref(&self) -> &Self::Target {
        &self.places
    }
}

impl<T> DerefMut for Places<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_free_again_is_taken_before_new_ones() {
        let mut places = Places::new();
        let ids: Vec<u16> = (0..3).filter_map(|_| places.add(|id| id * 10)).collect();
        assert_eq!(ids, [0, 1, 2]);
        assert_eq!(places.remove(1), Some(10));
        assert_eq!(places.remove(1), None, "it is gone");
        assert_eq!(places.add(|_| 77), Some(1));
        assert_eq!(places.add(|_| 78), Some(3));
        assert_eq!(places[1], Some(77));
    }

    #[test]
    fn all_numbers_are_given_and_no_more() {
        let mut places = Places::new();
        assert!((0..=u16::MAX).all(|id| places.add(|_| ()) == Some(id)));
        assert!(places.are_full());
        assert_eq!(places.add(|_| ()), None);
        places.remove(40_000);
        assert!(!places.are_full());
        assert_eq!(places.add(|_| ()), Some(40_000));
    }
}

//! Commands in the window at the head of a submission queue, a bit for each.

/// Number of commands in the window.
pub(crate) const WINDOW: u32 = u64::BITS;

/// Places of commands: bit n is that of the nth command behind the head, from zero.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Places(u64);

impl Places {
    /// The first `count` places, or all of the window.
    #[inline]
    pub(crate) fn first(count: u32) -> Self {
        let beyond = u64::MAX.checked_shl(count).unwrap_or(0);
        Self(!beyond)
    }

    /// A single place of the window.
    #[inline]
    pub(crate) fn one(place: u32) -> Self {
        Self(1_u64.checked_shl(place).unwrap_or(0))
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Number of places.
    #[inline]
    pub(crate) fn count(self) -> u32 {
        if self.is_empty() { 0 } else { self.0.count_ones() }
    }

    /// Number of places of the window before the first of these.
    #[inline]
    pub(crate) fn lowest(self) -> u32 {
        self.0.trailing_zeros()
    }

    #[inline]
    pub(crate) fn has(self, place: u32) -> bool {
        !self.both(Self::one(place)).is_empty()
    }

    /// Places that are here and there.
    #[inline]
    pub(crate) fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Places that are here or there.
    #[inline]
    pub(crate) fn either(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Places that are here and not there.
    #[inline]
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The first `count` of these places.
    #[inline]
    pub(crate) fn up_to(self, count: u32) -> Self {
        if count >= self.count() {
            return self;
        }
        let rest = (0..count).fold(self.0, |rest, _| rest & rest.wrapping_sub(1));
        Self(self.0 & !rest)
    }

    /// Takes out the places at the beginning of the window, up to the first gap. Returns their number, by which the
    /// others have moved.
    #[inline]
    pub(crate) fn take_beginning(&mut self) -> u32 {
        let count = self.0.trailing_ones();
        self.0 = self.0.checked_shr(count).unwrap_or(0);
        count
    }

    /// The places in a window whose beginning is `count` places further.
    #[inline]
    pub(crate) fn ahead_of(self, count: u32) -> Self {
        Self(self.0.checked_shr(count).unwrap_or(0))
    }

    /// The places, in order.
    #[inline]
    pub(crate) fn iter(self) -> PlacesIter {
        PlacesIter(self)
    }
}

/// Places in order.
pub(crate) struct PlacesIter(Places);

impl Iterator for PlacesIter {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        let Places(left) = self.0;
        self.0 = Places(left & left.wrapping_sub(1));
        (left != 0).then(|| left.trailing_zeros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_places_end_where_the_window_does() {
        assert_eq!(Places::first(0), Places::default());
        assert_eq!(Places::first(3), Places(0b111));
        assert_eq!(Places::first(64), Places(u64::MAX));
        assert_eq!(Places::first(u32::MAX), Places(u64::MAX));
        assert_eq!(Places::one(64), Places::default());
    }

    #[test]
    fn places_at_the_beginning_are_taken_out_up_to_the_first_gap() {
        let mut places = Places(0b1101_1011);
        assert_eq!(places.take_beginning(), 2);
        assert_eq!(places, Places(0b11_0110));
        assert_eq!(places.take_beginning(), 0);
        let mut all = Places::first(WINDOW);
        assert_eq!(all.take_beginning(), WINDOW);
        assert!(all.is_empty());
    }

    #[test]
    fn some_of_the_places_are_the_first_of_them() {
        let places = Places(0b1011_0100);
        assert_eq!(places.up_to(2), Places(0b1_0100));
        assert_eq!(places.up_to(9), places);
        assert_eq!(places.up_to(0), Places::default());
        assert_eq!(places.iter().collect::<Vec<_>>(), [2, 4, 5, 7]);
        assert_eq!(places.ahead_of(3), Places(0b1_0110));
        assert_eq!(places.ahead_of(64), Places::default());
        assert_eq!(places.count(), 4);
        assert_eq!(places.lowest(), 2);
    }
}

//! Ranges of addresses in this process, by which memory that goes is compared with memory that is in use.

use crate::Span;

/// Range of addresses in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressRange {
    /// First address.
    pub start: usize,
    /// Address behind the last one.
    pub end: usize,
}

impl AddressRange {
    /// Addresses of a span.
    #[must_use]
    pub fn of(span: &Span) -> Self {
        let start = span.host().addr().get();
        Self { start, end: start.saturating_add(span.len() as usize) }
    }

    /// Smallest range with the addresses of both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// One range of both; none where addresses lie between them.
    #[must_use]
    pub fn joined(self, other: Self) -> Option<Self> {
        let apart = self.end < other.start || other.end < self.start;
        (!apart).then(|| self.hull(other))
    }
}

/// Ranges of addresses in this process, in ascending order and apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRanges(Vec<AddressRange>);

impl AddressRanges {
    /// Whether there is no address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address of `range` is among them.
    #[must_use]
    pub fn overlap(&self, range: AddressRange) -> bool {
        let behind = self.0.partition_point(|ours| ours.end <= range.start);
        range.start < range.end && self.0.get(behind).is_some_and(|ours| ours.start < range.end)
    }
}

impl FromIterator<AddressRange> for AddressRanges {
    /// Ranges in any order, which may overlap.
    fn from_iter<T: IntoIterator<Item = AddressRange>>(ranges: T) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|range| range.start < range.end).collect();
        sorted.sort_unstable();
        sorted.dedup_by(|next, last| {
            let joined = last.joined(*next);
            *last = joined.unwrap_or(*last);
            joined.is_some()
        });
        Self(sorted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: usize, end: usize) -> AddressRange {
        AddressRange { start, end }
    }

    #[test]
    fn ranges_in_any_order_become_few_in_ascending_order() {
        let ranges = [range(50, 60), range(10, 20), range(55, 57), range(20, 30), range(70, 70)];
        let ranges: AddressRanges = ranges.into_iter().collect();
        assert_eq!(ranges, AddressRanges(vec![range(10, 30), range(50, 60)]));
    }

    #[test]
    fn a_range_overlaps_where_an_address_is_in_both() {
        let ranges: AddressRanges = [range(10, 20), range(40, 50)].into_iter().collect();
        for other in [range(19, 20), range(0, 11), range(15, 45), range(0, 100), range(49, 60)] {
            assert!(ranges.overlap(other), "{other:?}");
        }
        for other in [range(0, 10), range(20, 40), range(50, 60), range(15, 15)] {
            assert!(!ranges.overlap(other), "{other:?}");
        }
    }
}

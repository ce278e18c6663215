//! Medians and spreads of a few numbers.

/// Median, lowest and highest of several measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Spread of `values`; none if there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { median: f64::midpoint(below, above), min, max })
    }

    /// Median divided by that of `other`; none if that is zero.
    pub(crate) fn ratio(&self, other: &Self) -> Option<f64> {
        (other.median != 0.0).then(|| self.median / other.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_sorted_numbers() {
        let odd = Spread::of([5.0, 1.0, 100.0]).unwrap();
        assert_eq!(odd, Spread { median: 5.0, min: 1.0, max: 100.0 });
        let even = Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!(even, Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of([7.0]).unwrap(), Spread { median: 7.0, min: 7.0, max: 7.0 });
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn the_ratio_is_that_of_the_medians() {
        let (fast, slow) = (Spread::of([9.0, 10.0, 50.0]).unwrap(), Spread::of([1.0, 4.0, 5.0]).unwrap());
        assert_eq!(fast.ratio(&slow), Some(2.5));
        assert_eq!(fast.ratio(&Spread::of([0.0]).unwrap()), None);
    }
}

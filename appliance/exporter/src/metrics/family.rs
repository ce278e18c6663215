//! Families with a sample for each of many things.

use super::text::{Kind, Text};

/// Family with one sample for each thing that has the number.
pub struct Each<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&T) -> Option<f64>,
}

impl<T> Each<T> {
    /// Family of totals.
    pub const fn counter(name: &'static str, help: &'static str, value: fn(&T) -> Option<f64>) -> Self {
        Self { name, kind: Kind::Counter, help, value }
    }

    /// Family of values that go up and down.
    pub const fn gauge(name: &'static str, help: &'static str, value: fn(&T) -> Option<f64>) -> Self {
        Self { name, kind: Kind::Gauge, help, value }
    }

    /// Writes the family, with the labels of each thing. A number that is absent has no sample.
    pub fn write<const N: usize>(
        &self,
        text: &mut Text,
        things: &[T],
        labels: impl Fn(&T) -> [(&'static str, String); N],
    ) {
        let mut samples = things.iter().filter_map(|thing| Some((thing, (self.value)(thing)?))).peekable();
        if samples.peek().is_some() {
            let mut family = text.family(self.name, self.kind, self.help);
            samples.for_each(|(thing, value)| {
                let labels = labels(thing);
                family.sample(&labels.each_ref().map(|(label, value)| (*label, value.as_str())), value);
            });
        }
    }
}

/// Number as the value of a sample. Totals beyond 2^53 lose their last digits.
#[expect(clippy::cast_precision_loss, reason = "values of this format are floating-point numbers")]
pub const fn number(value: u64) -> f64 {
    value as f64
}

/// Absent or present number as the value of a sample.
pub fn known(value: Option<u64>) -> Option<f64> {
    value.map(number)
}

/// Microseconds in seconds.
pub fn from_us(value: Option<u64>) -> Option<f64> {
    Some(number(value?) / 1e6)
}

/// Yes or no as 1 or 0.
pub fn whether(value: Option<bool>) -> Option<f64> {
    value.map(|value| f64::from(u8::from(value)))
}

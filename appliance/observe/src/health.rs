//! Health of an SSD, as `bdev_nvme_get_controller_health_info` tells it: its SMART log.

use crate::answer;
use serde_json::Value;

/// Bytes of a data unit of the SMART log.
const DATA_UNIT_BYTES: u64 = 512_000;

/// Critical warnings, by their bits (NVMe 2.0, SMART / Health Information log).
const WARNINGS: [&str; 6] =
    ["spare low", "temperature", "unreliable", "read-only", "no backup power", "memory region"];

/// Health of an SSD.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Health {
    /// Temperature in degrees Celsius.
    pub temperature_celsius: Option<i64>,
    /// Spare blocks that are left, in percent.
    pub spare_percent: Option<u64>,
    /// Spare blocks in percent, below which the SSD warns.
    pub spare_threshold_percent: Option<u64>,
    /// Part of the rated endurance that is used, in percent; may be more than 100.
    pub used_percent: Option<u64>,
    /// Critical warnings, a bit each.
    pub critical_warning: Option<u64>,
    /// Number of times that data was lost.
    pub media_errors: Option<u64>,
    /// Bytes that hosts have written.
    pub written_bytes: Option<u64>,
    /// Hours that it was powered on.
    pub power_on_hours: Option<u64>,
}

impl Health {
    /// Health in an answer; `None` if there is none.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let number = |key: &str| answer::number(value, key);
        let units = value.is_object().then(|| number("data_units_written"))?;
        Some(Self {
            temperature_celsius: answer::signed(value, "temperature_celsius"),
            spare_percent: number("available_spare_percentage"),
            spare_threshold_percent: number("available_spare_threshold_percentage"),
            used_percent: number("percentage_used"),
            critical_warning: number("critical_warning"),
            media_errors: number("media_errors"),
            written_bytes: units.and_then(|units| units.checked_mul(DATA_UNIT_BYTES)),
            power_on_hours: number("power_on_hours"),
        })
    }

    /// Critical warnings in words; `None` if they are not known.
    #[must_use]
    pub fn warnings(&self) -> Option<Vec<&'static str>> {
        let bits = self.critical_warning?;
        let is_set = |bit: usize| bits.checked_shr(u32::try_from(bit).ok()?).map(|bits| bits & 1 == 1);
        let set = WARNINGS.into_iter().enumerate().filter(|(bit, _)| is_set(*bit) == Some(true));
        Some(set.map(|(_, word)| word).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_without_a_number_has_none_and_no_answer_has_no_health() {
        assert_eq!(Health::read(&json!({})), Some(Health::default()));
        assert_eq!(Health::read(&Value::Null), None);
        let cold = Health::read(&json!({ "temperature_celsius": -12, "data_units_written": 2 })).unwrap();
        assert_eq!(cold.temperature_celsius, Some(-12));
        assert_eq!(cold.written_bytes, Some(1_024_000));
        let worn = Health::read(&json!({ "data_units_written": u64::MAX })).unwrap();
        assert_eq!(worn.written_bytes, None);
    }

    #[test]
    fn warnings_are_told_in_words() {
        let warns = |bits: u64| Health { critical_warning: Some(bits), ..Health::default() }.warnings();
        assert_eq!(warns(0), Some(vec![]));
        assert_eq!(warns(0b1001), Some(vec!["spare low", "read-only"]));
        assert_eq!(warns(0b100_0000), Some(vec![]), "a bit that is reserved");
        assert_eq!(Health::default().warnings(), None);
    }
}

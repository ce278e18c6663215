//! Metrics of SSDs: state and health.

use super::family::{Each, known, number};
use super::text::{Kind, Text};
use luge_observe::{Health, Ssd};

/// States of an SSD; each has a sample.
const STATES: [&str; 3] = ["enabled", "resetting", "failed"];

/// Writes all families.
pub fn write(text: &mut Text, ssds: &[Ssd]) {
    if ssds.is_empty() {
        return;
    }
    let mut info = text.family("luge_ssd_info", Kind::Gauge, "SSDs and their addresses; the value is 1.");
    for ssd in ssds {
        info.sample(&[("ssd", &ssd.name), ("address", ssd.address.as_deref().unwrap_or_default())], 1);
    }
    let help = "State of an SSD: 1 for the state that it is in, 0 for the others.";
    let mut states = text.family("luge_ssd_state", Kind::Gauge, help);
    for ssd in ssds {
        for state in STATES {
            let is_in = ssd.state.as_deref() == Some(state);
            states.sample(&[("ssd", &ssd.name), ("state", state)], u8::from(is_in));
        }
    }
    for family in families() {
        family.write(text, ssds, |ssd| [("ssd", ssd.name.clone())]);
    }
}

/// Families of numbers.
const fn families() -> [Each<Ssd>; 9] {
    [
        Each::counter(
            "luge_ssd_bounced_requests_total",
            "Requests whose data was copied, because the SSD cannot reach it where it is.",
            |ssd| known(ssd.bounced),
        ),
        Each::gauge("luge_ssd_temperature_celsius", "Temperature of an SSD.", temperature),
        Each::gauge(
            "luge_ssd_used_ratio",
            "Rated endurance of an SSD that is used; may be more than 1.",
            |ssd| ratio(health(ssd)?.used_percent),
        ),
        Each::gauge("luge_ssd_spare_ratio", "Spare blocks of an SSD that are left.", |ssd| {
            ratio(health(ssd)?.spare_percent)
        }),
        Each::gauge("luge_ssd_spare_threshold_ratio", "Spare blocks below which an SSD warns.", |ssd| {
            ratio(health(ssd)?.spare_threshold_percent)
        }),
        Each::gauge(
            "luge_ssd_critical_warning",
            "Critical warnings of an SSD, a bit each; 0 if all is well.",
            |ssd| known(health(ssd)?.critical_warning),
        ),
        Each::counter("luge_ssd_media_errors_total", "Times that an SSD has lost data.", |ssd| {
            known(health(ssd)?.media_errors)
        }),
        Each::counter("luge_ssd_written_bytes_total", "Bytes written to an SSD in its life.", |ssd| {
            known(health(ssd)?.written_bytes)
        }),
        Each::counter("luge_ssd_power_on_seconds_total", "Time that an SSD was powered on.", |ssd| {
            Some(number(health(ssd)?.power_on_hours?) * 3600.0)
        }),
    ]
}

const fn health(ssd: &Ssd) -> Option<&Health> {
    ssd.health.as_ref()
}

/// Temperature, where it is one.
fn temperature(ssd: &Ssd) -> Option<f64> {
    i16::try_from(health(ssd)?.temperature_celsius?).ok().map(f64::from)
}

fn ratio(percent: Option<u64>) -> Option<f64> {
    Some(number(percent?) / 100.0)
}

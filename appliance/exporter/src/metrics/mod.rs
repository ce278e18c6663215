//! Metrics of the sled, under Prometheus' conventions: base units, totals that end in `_total`, names as labels.

mod histogram;
mod text;

use crate::picture::{Core, Endpoint, Latency, Picture, Store, Totals, Vm, Volume};
use histogram::cumulative;
use text::{Kind, Labels, Text};

pub use text::MEDIA_TYPE;

/// States of an SSD, each of which has a sample.
const SSD_STATES: [&str; 3] = ["enabled", "resetting", "failed"];

/// Operations that have a histogram.
const OPERATIONS: [&str; 4] = ["read", "write", "unmap", "flush"];

/// Metrics of a sled that answers.
#[must_use]
pub fn of(picture: &Picture) -> String {
    let mut text = Text::default();
    up(&mut text, 1);
    let mut info = text.family("luge_build_info", Kind::Gauge, "Version of Luge; the value is 1.");
    info.sample(&[("version", &picture.version)], 1);
    cores(&mut text, &picture.cores);
    stores(&mut text, &picture.stores);
    volumes(&mut text, &picture.volumes);
    latencies(&mut text, &picture.volumes);
    endpoints(&mut text, &picture.endpoints);
    vms(&mut text, &picture.vms);
    text.finish()
}

/// Metrics of a sled that does not answer.
#[must_use]
pub fn of_none() -> String {
    let mut text = Text::default();
    up(&mut text, 0);
    text.finish()
}

fn up(text: &mut Text, value: u8) {
    text.family("luge_up", Kind::Gauge, "Whether Luge answers the exporter.").sample(&[], value);
}

/// Family with one sample for each thing.
struct Each<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&T) -> f64,
}

impl<T> Each<T> {
    const fn counter(name: &'static str, help: &'static str, value: fn(&T) -> f64) -> Self {
        Self { name, kind: Kind::Counter, help, value }
    }

    const fn gauge(name: &'static str, help: &'static str, value: fn(&T) -> f64) -> Self {
        Self { name, kind: Kind::Gauge, help, value }
    }

    /// Writes the family; nothing if there are no things.
    fn write(&self, text: &mut Text, things: &[T], label: &str, name: impl Fn(&T) -> String) {
        if things.is_empty() {
            return;
        }
        let mut family = text.family(self.name, self.kind, self.help);
        for thing in things {
            family.sample(&[(label, &name(thing))], (self.value)(thing));
        }
    }
}

/// Number as a sample's value. Counters beyond 2^53 lose their last digits.
#[expect(clippy::cast_precision_loss, reason = "values of this format are floating-point numbers")]
const fn number(value: u64) -> f64 {
    value as f64
}

/// Writes a family whose samples say in their labels what things are.
fn info<'a, const N: usize>(
    text: &mut Text,
    name: &'static str,
    help: &str,
    things: impl Iterator<Item = [(&'static str, &'a str); N]>,
) {
    let mut things = things.peekable();
    if things.peek().is_some() {
        let mut family = text.family(name, Kind::Gauge, help);
        things.for_each(|labels| family.sample(&labels, 1));
    }
}

fn cores(text: &mut Text, cores: &[Core]) {
    let families: [Each<Core>; 5] = [
        Each::counter("luge_core_busy_seconds_total", "Time in which a core did work.", |core| core.busy_s),
        Each::counter(
            "luge_core_idle_seconds_total",
            "Time in which a core polled for nothing, or slept.",
            |core| core.idle_s,
        ),
        Each::counter("luge_core_sleeps_total", "Times that a core went to sleep.", |core| number(core.sleeps)),
        Each::gauge("luge_core_rings", "Rings that a core serves.", |core| number(core.rings)),
        Each::gauge("luge_core_longest_turn_seconds", "Longest turn of a core.", |core| core.longest_turn_s),
    ];
    families.iter().for_each(|family| family.write(text, cores, "core", |core| core.id.to_string()));
}

fn stores(text: &mut Text, stores: &[Store]) {
    info(
        text,
        "luge_store_info",
        "SSDs and other stores of data; the value is 1.",
        stores.iter().map(|store| {
            [
                ("store", store.name.as_str()),
                ("kind", store.kind.word()),
                ("address", &store.address),
                ("model", &store.model),
                ("serial", &store.serial),
            ]
        }),
    );
    let ssds = || stores.iter().filter(|store| !store.state.is_empty());
    if ssds().next().is_none() {
        return;
    }
    let mut family =
        text.family("luge_ssd_state", Kind::Gauge, "State of an SSD: 1 for the state it is in, 0 for others.");
    for ssd in ssds() {
        for state in SSD_STATES {
            family.sample(&[("ssd", &ssd.name), ("state", state)], u8::from(ssd.state == state));
        }
    }
}

/// Families of one operation: count, bytes, sum of latencies.
macro_rules! operation {
    ($field:ident, $things:literal, $bytes:literal, $latency:literal, $word:literal) => {
        [
            Each::counter($things, concat!("Requests to ", $word, ", that have ended."), |volume: &Volume| {
                number(volume.$field.count)
            }),
            Each::counter($bytes, concat!("Bytes of requests to ", $word, "."), |volume: &Volume| {
                number(volume.$field.bytes)
            }),
            Each::counter($latency, concat!("Sum of the latencies of requests to ", $word, "."), |volume: &Volume| {
                volume.$field.seconds
            }),
        ]
    };
}

fn volumes(text: &mut Text, volumes: &[Volume]) {
    info(
        text,
        "luge_volume_info",
        "Volumes, with the store of their data; the value is 1.",
        volumes.iter().map(|volume| {
            [
                ("volume", volume.name.as_str()),
                ("uuid", &volume.uuid),
                ("product", &volume.product),
                ("base", volume.base.as_deref().unwrap_or_default()),
                ("store", &volume.store),
            ]
        }),
    );
    let sizes = [
        Each::gauge("luge_volume_size_bytes", "Size of a volume.", |volume: &Volume| number(volume.size_bytes)),
        Each::counter("luge_volume_failed_total", "Requests that failed.", |volume| number(volume.failed)),
    ];
    let families = sizes.into_iter().chain(totals());
    families.for_each(|family| family.write(text, volumes, "volume", |volume| volume.name.clone()));
}

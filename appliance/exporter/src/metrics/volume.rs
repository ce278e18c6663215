//! Metrics of volumes.

use super::family::{Each, known, number};
use super::histogram::cumulative;
use super::text::{Kind, Text};
use luge_observe::{Counters, Histogram, Operation, OperationCounters, Snapshot, Volume};

/// Totals of one operation, in the words of the metrics.
struct Words {
    requests: &'static str,
    bytes: &'static str,
    seconds: &'static str,
    operation: fn(&Counters) -> OperationCounters,
}

const WORDS: [Words; 3] = [
    Words {
        requests: "luge_volume_reads_total",
        bytes: "luge_volume_read_bytes_total",
        seconds: "luge_volume_read_seconds_total",
        operation: |counters| counters.read,
    },
    Words {
        requests: "luge_volume_writes_total",
        bytes: "luge_volume_written_bytes_total",
        seconds: "luge_volume_write_seconds_total",
        operation: |counters| counters.write,
    },
    Words {
        requests: "luge_volume_unmaps_total",
        bytes: "luge_volume_unmapped_bytes_total",
        seconds: "luge_volume_unmap_seconds_total",
        operation: |counters| counters.unmap,
    },
];

/// Writes all families.
pub fn write(text: &mut Text, sled: &Snapshot) {
    write_info(text, sled);
    let gauges = [
        Each::gauge("luge_volume_size_bytes", "Size of a volume.", |volume: &Volume| {
            known(volume.size_bytes())
        }),
        Each::counter("luge_volume_failed_total", "Requests to a volume that failed.", |volume| {
            Some(number(volume.counters?.failed))
        }),
    ];
    gauges
        .iter()
        .for_each(|family| family.write(text, &sled.volumes, |volume| [("volume", volume.name.clone())]));
    WORDS.iter().for_each(|words| write_totals(text, sled, words));
    write_latencies(text, &sled.volumes);
}

fn write_info(text: &mut Text, sled: &Snapshot) {
    if sled.volumes.is_empty() {
        return;
    }
    let mut family = text.family(
        "luge_volume_info",
        Kind::Gauge,
        "Volumes, with the SSD and the volume that they are on; the value is 1.",
    );
    for volume in &sled.volumes {
        let labels = [
            ("volume", volume.name.as_str()),
            ("uuid", volume.uuid.as_deref().unwrap_or_default()),
            ("product", volume.product.as_deref().unwrap_or_default()),
            ("base", volume.base.as_deref().unwrap_or_default()),
            ("ssd", sled.ssd_of(volume).map_or("", |ssd| ssd.name.as_str())),
        ];
        family.sample(&labels, 1);
    }
}

fn write_totals(text: &mut Text, sled: &Snapshot, words: &Words) {
    let counted = || {
        let of = |volume: &Volume| Some((volume.name.clone(), (words.operation)(volume.counters.as_ref()?)));
        sled.volumes.iter().filter_map(of).collect::<Vec<_>>()
    };
    let all = counted();
    if all.is_empty() {
        return;
    }
    let mut family = text.family(words.requests, Kind::Counter, "Requests of this kind that have ended.");
    all.iter().for_each(|(name, totals)| family.sample(&[("volume", name)], totals.requests));
    let mut family = text.family(words.bytes, Kind::Counter, "Bytes of these requests.");
    all.iter().for_each(|(name, totals)| family.sample(&[("volume", name)], totals.bytes));
    let Some(rate) = sled.tick_rate else { return };
    let mut family = text.family(
        words.seconds,
        Kind::Counter,
        "Sum of the latencies of these requests; its rate is the average number in flight.",
    );
    for (name, totals) in &all {
        family.sample(&[("volume", name)], number(totals.latency_ticks) / number(rate));
    }
}

/// Writes the histograms, of all sizes together: with sizes, each volume would have some hundred series.
fn write_latencies(text: &mut Text, volumes: &[Volume]) {
    if volumes.iter().all(|volume| volume.latencies.is_none()) {
        return;
    }
    let mut family = text.family(
        "luge_volume_latency_seconds",
        Kind::Histogram,
        "Latencies of the requests to a volume, by operation; of all sizes.",
    );
    for volume in volumes {
        let Some(latencies) = &volume.latencies else { continue };
        for operation in Operation::ALL {
            let all: Vec<&Histogram> = latencies.iter().filter(|one| one.operation == operation).collect();
            if !all.is_empty() {
                let sum = all.iter().fold(0_u64, |sum, one| sum.saturating_add(one.sum_ns));
                let labels = [("volume", volume.name.as_str()), ("operation", operation.name())];
                family.histogram(&labels, &cumulative(&all), number(sum) / 1e9);
            }
        }
    }
}

//! Tests of the metrics of whole sleds.

use super::*;
use luge_observe::{Health, Source, SourceError};
use serde_json::{Value, json};

/// Answers of a sled; methods without one are refused.
struct Answers(Value);

impl Source for Answers {
    fn call(&mut self, method: &str, _: Value) -> Result<Value, SourceError> {
        let refused = || SourceError::Refused { code: -32601, message: "no such method".into() };
        self.0.get(method).cloned().ok_or_else(refused)
    }
}

fn metrics_of(answers: Value) -> String {
    metrics(Some(&Snapshot::take(&mut Answers(answers)).unwrap()))
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
}

#[test]
fn a_sled_that_does_not_answer_is_down_and_has_no_other_sample() {
    let text = metrics(None);
    assert!(text.lines().filter(|line| !line.starts_with('#')).eq(["luge_up 0"]), "{text}");
}

#[test]
fn methods_that_are_refused_leave_their_metrics_out() {
    let text = metrics_of(json!({}));
    has(&text, "luge_up 1");
    assert!(!text.contains("luge_volume") && !text.contains("luge_core"), "{text}");
}

#[test]
fn totals_are_in_base_units() {
    let text = metrics_of(json!({
        "bdev_get_bdevs": [{ "name": "v", "block_size": 512, "num_blocks": 8 }],
        "bdev_get_iostat": { "tick_rate": 1000, "ticks": 5, "bdevs": [{
            "name": "v", "num_read_ops": 3, "bytes_read": 1536, "read_latency_ticks": 500,
            "io_error": { "failed": 2 },
        }] },
        "framework_get_reactors": { "tick_rate": 1000, "reactors": [{
            "lcore": 1, "busy": 250, "longest_turn_us": 1500,
        }] },
    }));
    for line in [
        "luge_volume_size_bytes{volume=\"v\"} 4096",
        "luge_volume_reads_total{volume=\"v\"} 3",
        "luge_volume_read_bytes_total{volume=\"v\"} 1536",
        "luge_volume_read_seconds_total{volume=\"v\"} 0.5",
        "luge_volume_writes_total{volume=\"v\"} 0",
        "luge_volume_failed_total{volume=\"v\"} 2",
        "luge_core_busy_seconds_total{core=\"1\"} 0.25",
        "luge_core_longest_turn_seconds{core=\"1\"} 0.0015",
    ] {
        has(&text, line);
    }
    assert!(!text.contains("luge_core_idle_seconds_total"), "an absent number has a sample: {text}");
}

#[test]
fn latencies_are_histograms_by_operation() {
    let text = metrics_of(json!({
        "bdev_get_bdevs": [{ "name": "v" }],
        "luge_get_latency": [{ "name": "v", "operations": [
            { "operation": "read", "size_class": "4KiB", "sum_ns": 5000, "buckets": [[2048, 2], [4096, 1]] },
            { "operation": "read", "size_class": "64KiB", "sum_ns": 5000, "buckets": [[4096, 1]] },
        ] }],
    }));
    has(&text, "luge_volume_latency_seconds_bucket{volume=\"v\",operation=\"read\",le=\"0.000002048\"} 2");
    has(&text, "luge_volume_latency_seconds_bucket{volume=\"v\",operation=\"read\",le=\"+Inf\"} 4");
    has(&text, "luge_volume_latency_seconds_count{volume=\"v\",operation=\"read\"} 4");
    has(&text, "luge_volume_latency_seconds_sum{volume=\"v\",operation=\"read\"} 0.00001");
}

#[test]
fn a_volume_behind_two_luns_of_an_endpoint_has_one_sample() {
    let lun = json!({ "bdev_name": "v" });
    let text = metrics_of(json!({ "vhost_get_controllers": [{
        "ctrlr": "s", "backend_specific": { "scsi": [{ "luns": [lun, lun] }] },
    }] }));
    let sample = "luge_endpoint_info{endpoint=\"s\",kind=\"scsi\",volume=\"v\"} 1";
    assert_eq!(text.lines().filter(|line| *line == sample).count(), 1, "{text}");
}

#[test]
fn endpoints_of_two_kinds_with_one_name_have_samples_of_their_own() {
    let text = metrics_of(json!({
        "vhost_get_controllers": [{ "ctrlr": "e", "sessions": [], "backend_specific": { "block": { "bdev": "v" } } }],
        "nvmf_get_subsystems": [{ "nqn": "e", "subtype": "NVMe" }],
        "nvmf_subsystem_get_controllers": [{ "num_io_qpairs": 4 }],
    }));
    has(&text, "luge_endpoint_front_ends{endpoint=\"e\",kind=\"blk\"} 0");
    has(&text, "luge_endpoint_front_ends{endpoint=\"e\",kind=\"nvme\"} 1");
}

#[test]
fn the_health_of_an_ssd_is_in_base_units_where_it_is_known() {
    let mut sled = Snapshot::take(&mut Answers(
        json!({ "bdev_nvme_get_controllers": [{ "name": "N" }, { "name": "M" }] }),
    ))
    .unwrap();
    sled.ssds[0].health = Some(Health {
        temperature_celsius: Some(-4),
        used_percent: Some(107),
        critical_warning: Some(2),
        power_on_hours: Some(2),
        ..Health::default()
    });
    let text = metrics(Some(&sled));
    has(&text, "luge_ssd_temperature_celsius{ssd=\"N\"} -4");
    has(&text, "luge_ssd_used_ratio{ssd=\"N\"} 1.07");
    has(&text, "luge_ssd_critical_warning{ssd=\"N\"} 2");
    has(&text, "luge_ssd_power_on_seconds_total{ssd=\"N\"} 7200");
    assert!(!text.contains("luge_ssd_spare_ratio"), "{text}");
    assert!(!text.contains("luge_ssd_temperature_celsius{ssd=\"M\"}"), "{text}");
}

#[test]
fn an_ssd_has_a_sample_for_each_state() {
    let text = metrics_of(json!({
        "bdev_nvme_get_controllers": [{ "name": "N", "ctrlrs": [{ "state": "resetting" }] }],
    }));
    has(&text, "luge_ssd_state{ssd=\"N\",state=\"resetting\"} 1");
    has(&text, "luge_ssd_state{ssd=\"N\",state=\"enabled\"} 0");
}

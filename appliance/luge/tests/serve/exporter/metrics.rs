//! The metrics, by Prometheus' own parser.

use super::fake_sled::{FakeSled, HOSTILE};
use super::rig::Exporter;
use crate::daemon::eventually;
use luge_image::{Cache, Progress, PyPiPackage};
use serde_json::Value;
use std::fs;

/// Package with the parser.
const PACKAGE: &str = "prometheus-client==0.22.1";

/// Prints the families of a file as JSON: name, type, and samples as name, labels and value.
const PARSE: &str = "\
import json, sys
from prometheus_client.parser import text_string_to_metric_families as parse
families = list(parse(open(sys.argv[1]).read()))
print(json.dumps([{'name': f.name, 'type': f.type, 'help': f.documentation,
    'samples': [[s.name, s.labels, s.value] for s in f.samples]} for f in families]))";

/// Families that the parser finds in a text.
fn parsed(text: &str, sled: &FakeSled) -> Vec<Value> {
    let cache = Cache::open().unwrap();
    let package = PyPiPackage::prepare(PACKAGE, &cache, &Progress::to_stderr());
    let file = sled.folder().join("metrics");
    fs::write(&file, text).unwrap();
    let mut python = package.unwrap_or_else(|error| panic!("{error}")).python();
    let output = python.args(["-c", PARSE]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn prometheus_reads_every_family_with_its_type_and_help() {
    let sled = FakeSled::start();
    let families = parsed(&Exporter::of(&sled.socket()).get("/metrics"), &sled);
    let text = |family: &Value, member: &str| family[member].as_str().unwrap().to_owned();
    for family in &families {
        let (name, kind) = (text(family, "name"), text(family, "type"));
        assert!(name.starts_with("luge_"), "{name}");
        assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{name} is a {kind}");
        assert!(text(family, "help").ends_with('.'), "{name} has no help");
        assert!(!family["samples"].as_array().unwrap().is_empty(), "{name} has no sample");
    }
    let names: Vec<_> = families.iter().map(|family| text(family, "name")).collect();
    for name in
        ["luge_up", "luge_build_info", "luge_volume_read_bytes", "luge_ssd_state", "luge_vm_memory_bytes"]
    {
        assert!(names.iter().any(|other| other == name), "{name} is not there");
    }
}

#[test]
fn prometheus_reads_histograms_whose_buckets_grow_up_to_their_count() {
    let sled = FakeSled::start();
    let families = parsed(&Exporter::of(&sled.socket()).get("/metrics"), &sled);
    let latency = families.iter().find(|family| family["name"] == "luge_volume_latency_seconds").unwrap();
    assert_eq!(latency["type"], "histogram");
    let samples = latency["samples"].as_array().unwrap();
    let of = |suffix: &str| {
        let name = format!("luge_volume_latency_seconds_{suffix}");
        let is_it = move |sample: &&Value| {
            sample[0] == name.as_str() && sample[1]["volume"] == HOSTILE && sample[1]["operation"] == "read"
        };
        samples.iter().filter(is_it).map(|sample| sample[2].as_f64().unwrap()).collect::<Vec<_>>()
    };
    let (buckets, counts) = (of("bucket"), of("count"));
    assert_eq!(counts.len(), 1, "a name with quotes and brackets is not read as it is");
    assert!(buckets.is_sorted(), "{buckets:?}");
    assert_eq!(buckets.last(), counts.first());
    assert!(counts[0] > 0.0);
}

#[test]
fn the_dashboard_asks_only_for_metrics_that_are_there() {
    let sled = FakeSled::start();
    let exporter = Exporter::of(&sled.socket());
    // The health of the SSDs comes a little later than the rest.
    let has_health = || exporter.get("/metrics").contains("luge_ssd_temperature_celsius");
    eventually("the health of the SSDs", has_health);
    let (metrics, dashboard) = (exporter.get("/metrics"), exporter.get("/grafana.json"));
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let text = dashboard["panels"].to_string();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let asked: Vec<_> = words.filter(|word| word.starts_with("luge_")).collect();
    assert!(asked.len() > 10, "{asked:?}");
    for name in asked {
        assert!(metrics.contains(&format!("\n{name}")) || metrics.starts_with(name), "{name} is no metric");
    }
}

//! Tests of snapshots and rates, with a source whose answers are prepared.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_observe::{EndpointKind, Rates, Snapshot, Source, SourceError, Volume};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Source with an answer per method; others are refused.
#[derive(Clone, Default)]
struct Prepared(BTreeMap<&'static str, Value>);

impl Prepared {
    fn with(mut self, method: &'static str, answer: Value) -> Self {
        self.0.insert(method, answer);
        self
    }

    fn snapshot(mut self) -> Snapshot {
        Snapshot::take(&mut self).unwrap()
    }
}

impl Source for Prepared {
    fn call(&mut self, method: &str, _: Value) -> Result<Value, SourceError> {
        let refused = || SourceError::Refused { code: -32601, message: format!("no {method}") };
        self.0.get(method).cloned().ok_or_else(refused)
    }
}

/// Source that never answers.
struct Away;

impl Source for Away {
    fn call(&mut self, _: &str, _: Value) -> Result<Value, SourceError> {
        Err(SourceError::Away("gone".into()))
    }
}

/// Methods that a snapshot calls.
const METHODS: [&str; 9] = [
    "spdk_get_version",
    "framework_get_reactors",
    "vhost_get_controllers",
    "nvmf_get_subsystems",
    "bdev_nvme_get_controllers",
    "bdev_get_bdevs",
    "vm_get_vms",
    "luge_get_latency",
    "bdev_get_iostat",
];

#[test]
fn a_snapshot_of_a_luge_that_refuses_everything_is_empty_and_says_so() {
    let snapshot = Prepared::default().snapshot();
    let missing: Vec<&str> = snapshot.missing.iter().map(|one| one.method.as_str()).collect();
    assert_eq!(missing, METHODS);
    assert_eq!(Snapshot { missing: Vec::new(), ..snapshot }, Snapshot::default());
}

#[test]
fn a_luge_that_is_away_has_no_snapshot() {
    assert_eq!(Snapshot::take(&mut Away), Err(SourceError::Away("gone".into())));
}

#[test]
fn answers_of_any_shape_make_a_snapshot() {
    let odd = [
        json!(null),
        json!(7),
        json!("x"),
        json!([]),
        json!([7, null]),
        json!({}),
        json!([{ "name": 7 }]),
        json!([[{ "name": "x" }]]),
        json!({ "reactors": 7, "bdevs": { "a": 1 } }),
    ];
    for answer in odd {
        let all =
            METHODS.iter().fold(Prepared::default(), |source, method| source.with(method, answer.clone()));
        let snapshot = all.snapshot();
        assert_eq!(snapshot.volumes, [], "{answer}");
        assert_eq!(Rates::between(&snapshot, &snapshot), None, "{answer}");
    }
}

fn volume<'a>(snapshot: &'a Snapshot, name: &str) -> &'a Volume {
    snapshot.volumes.iter().find(|volume| volume.name == name).unwrap()
}

#[test]
fn a_part_of_a_part_is_on_the_ssd_and_a_circle_of_parts_is_on_none() {
    let part = |name: &str, base: &str| json!({ "name": name, "driver_specific": { "split": { "base_bdev": base } } });
    let snapshot = Prepared::default()
        .with(
            "bdev_get_bdevs",
            json!([
                { "name": "n", "driver_specific": { "nvme": [{ "trid": { "traddr": "0000:01:00.0" } }] } },
                part("np", "n"), part("npp", "np"), part("a", "b"), part("b", "a"),
            ]),
        )
        .with(
            "bdev_nvme_get_controllers",
            json!([{ "name": "nvme0", "ctrlrs": [{ "trid": { "traddr": "0000:01:00.0" } }] }]),
        )
        .snapshot();
    assert_eq!(snapshot.ssd_of(volume(&snapshot, "npp")).unwrap().name, "nvme0");
    assert_eq!(snapshot.ssd_of(volume(&snapshot, "a")), None);
}

#[test]
fn endpoints_of_every_kind_name_their_volumes() {
    let snapshot = Prepared::default()
        .with("vhost_get_controllers", json!([
            { "ctrlr": "d", "sessions": [], "backend_specific": { "block": { "bdev": "m" } } },
            { "ctrlr": "h", "backend_specific": { "scsi": [{ "luns": [{ "bdev_name": "a" }, { "bdev_name": "b" }] }] } },
        ]))
        .with("nvmf_get_subsystems", json!([
            { "nqn": "discovery", "subtype": "Discovery" },
            { "nqn": "q", "subtype": "NVMe", "namespaces": [{ "bdev_name": "c" }] },
        ]))
        .with("nvmf_subsystem_get_controllers", json!([{ "num_io_qpairs": 4 }, { "num_io_qpairs": 2 }]))
        .snapshot();
    let [disk, hba, nvme] = snapshot.endpoints.as_slice() else { panic!("{:?}", snapshot.endpoints) };
    assert_eq!(disk.kind, EndpointKind::Blk);
    assert_eq!(disk.volumes, ["m"]);
    assert_eq!(disk.front_ends, Some(0));
    assert_eq!(hba.kind, EndpointKind::Scsi);
    assert_eq!(hba.volumes, ["a", "b"]);
    assert_eq!(hba.front_ends, None, "what is absent is absent");
    assert_eq!(nvme.kind, EndpointKind::Nvme);
    assert_eq!(nvme.volumes, ["c"]);
    assert_eq!(nvme.front_ends, Some(2));
    assert_eq!(nvme.queues, Some(6));
}

/// Luge after a number of seconds, of a process: 100 reads of 4 KiB a second, half of them slow.
fn luge(pid: u64, seconds: u64) -> Snapshot {
    let reads = 100 * seconds;
    Prepared::default()
        .with("framework_get_reactors", json!({ "pid": pid, "reactors": [
            { "lcore": 0, "busy": 30 * seconds, "idle": 70 * seconds, "tenants": [
                { "tenant": "a", "work": seconds }, { "tenant": "b", "work": 3 * seconds }, { "tenant": "c", "work": 9 },
            ] },
        ] }))
        .with("bdev_get_bdevs", json!([{ "name": "m", "uuid": "u" }]))
        .with("bdev_get_iostat", json!({ "ticks": seconds * 1000, "tick_rate": 1000, "bdevs": [
            { "name": "m", "num_read_ops": reads, "bytes_read": reads * 4096, "read_latency_ticks": 2000 * seconds },
        ] }))
        .with("luge_get_latency", json!([{ "name": "m", "operations": [
            { "operation": "read", "size_class": "4KiB", "buckets": [[1000, reads / 2], [9000, reads / 2]] },
            { "operation": "flush", "size_class": "any", "buckets": [[1_000_000, reads]] },
        ] }]))
        .snapshot()
}

#[test]
fn rates_are_changes_per_second_of_the_counters_own_clock() {
    let rates = Rates::between(&luge(1, 10), &luge(1, 14)).unwrap();
    assert_eq!(rates.seconds, 4.0);
    let volume = rates.volume("m").unwrap();
    assert_eq!(volume.iops(), 100.0);
    assert_eq!(volume.bytes_per_s(), 409_600.0);
    assert_eq!(volume.queue_depth(), 2.0);
    assert_eq!(volume.p50_ns, Some(1000));
    assert_eq!(volume.p99_ns, Some(9000), "flushes do not count");
    assert_eq!(rates.core(0).unwrap().busy, Some(0.3));
    assert_eq!(rates.core(0).unwrap().tenants, [("b".to_owned(), 0.75), ("a".to_owned(), 0.25)]);
}

#[test]
fn volumes_that_are_named_twice_count_once() {
    let rates = Rates::between(&luge(1, 10), &luge(1, 14)).unwrap();
    assert_eq!(rates.sum(["m", "m", "x"]).unwrap().iops(), 100.0);
    assert_eq!(rates.sum(["x"]), None);
}

#[test]
fn a_luge_that_was_started_again_has_no_rates_until_the_second_look() {
    assert_eq!(Rates::between(&luge(1, 10), &luge(2, 14)), None);
    assert_eq!(Rates::between(&luge(1, 10), &luge(1, 10)), None);
}

#[test]
fn counters_that_were_reset_have_no_rates_until_the_next_look() {
    let mut reset = luge(1, 14);
    reset.volumes[0].counters = Some(luge_observe::Counters::default());
    assert_eq!(Rates::between(&luge(1, 10), &reset).unwrap().volume("m"), None);
}

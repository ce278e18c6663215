//! Latencies of block devices by RPC, in our own form and in the field's.

use crate::daemon::{Daemon, LUGE, command};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A daemon whose disk `m` has served a load of 4 KiB reads and writes, 16 at a time.
fn loaded() -> Daemon {
    let luge = Daemon::with(&[]);
    luge.call("bdev_malloc_create", json!({"name": "m", "num_blocks": 16384, "block_size": 512}));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "m"}));
    load(&luge);
    luge
}

fn load(luge: &Daemon) {
    let words = "--rw randrw --bs 4k --iodepth 16 --queues 2 --runtime 0.2";
    let run = command(LUGE).arg("bench").arg(luge.path("v")).args(words.split(' ')).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

fn stats(luge: &Daemon) -> Value {
    luge.call("bdev_get_iostat", json!({"name": "m"}))["bdevs"][0].clone()
}

fn number(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or_else(|| panic!("{name} of {of}"))
}

/// Number of requests in a histogram of the field's layout, by the formula of its clients, and the least ticks that
/// those in the last bucket took.
fn decode(answer: &Value) -> (u64, u64) {
    let bytes = STANDARD.decode(answer["histogram"].as_str().unwrap()).unwrap();
    let word = |index: u64| {
        let at = usize::try_from(index).unwrap() * 8;
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    };
    let (bits, ranges) = (number(answer, "granularity"), number(answer, "max_range"));
    assert_eq!(number(answer, "min_range"), 0);
    let (mut count, mut least, mut end) = (0, 0, 0);
    for range in 0..ranges {
        for index in 0..1 << bits {
            let start = end;
            end =
                if range > 0 { (1 << (range + bits - 1)) + ((index + 1) << (range - 1)) } else { index + 1 };
            let requests = word((range << bits) + index);
            count += requests;
            least = if requests > 0 { start } else { least };
        }
    }
    (count, least)
}

#[test]
fn latencies_are_shown_by_operation_and_size_and_agree_with_the_counters() {
    let luge = loaded();
    let answer = luge.call("luge_get_latency", json!({"name": "m"}));
    assert_eq!(answer[0]["name"], "m");
    let (operations, stats) = (answer[0]["operations"].as_array().unwrap(), stats(&luge));
    let of = |operation: &str| {
        let found = operations.iter().filter(|class| class["operation"] == operation);
        let found: Vec<&Value> = found.collect();
        assert_eq!(found.len(), 1, "{operation} in {answer}");
        found[0]
    };
    for (operation, ops) in [("read", "num_read_ops"), ("write", "num_write_ops")] {
        let class = of(operation);
        assert_eq!(class["size_class"], "4KiB");
        assert_eq!(number(class, "count"), number(&stats, ops), "{operation}");
        let buckets: Vec<(u64, u64)> = serde_json::from_value(class["buckets"].clone()).unwrap();
        assert_eq!(buckets.iter().map(|&(_, count)| count).sum::<u64>(), number(class, "count"));
        assert!(buckets.is_sorted_by(|one, next| one.0 < next.0), "{buckets:?}");
        let times = ["min_ns", "p50_ns", "p99_ns", "p999_ns", "max_ns"].map(|name| number(class, name));
        assert!(times.is_sorted(), "{operation}: {times:?}");
        assert!(times[0] > 0, "{operation}");
        let mean = number(class, "sum_ns") / number(class, "count");
        assert!((times[0]..=times[4]).contains(&mean), "{operation}: {mean} of {times:?}");
    }
}

#[test]
fn a_device_without_requests_has_no_latencies() {
    let luge = Daemon::start();
    luge.call("bdev_null_create", json!({"name": "n", "num_blocks": 8, "block_size": 512}));
    assert_eq!(luge.call("luge_get_latency", Value::Null), json!([{"name": "n", "operations": []}]));
}

#[test]
fn the_shortest_and_longest_latencies_are_true_and_begin_anew_when_they_are_reset() {
    let luge = loaded();
    let first = stats(&luge);
    for operation in ["read", "write"] {
        let [sum, min, max] =
            ["", "min_", "max_"].map(|word| number(&first, &format!("{word}{operation}_latency_ticks")));
        let mean = sum / number(&first, &format!("num_{operation}_ops"));
        assert!(min > 0, "{operation}");
        assert!((min..=max).contains(&mean), "{operation}: {mean}, from {min} to {max}");
    }
    luge.call("bdev_get_iostat", json!({"name": "m", "reset_mode": "maxmin"}));
    let reset = stats(&luge);
    assert_eq!(number(&reset, "max_read_latency_ticks"), 0);
    assert_eq!(number(&reset, "min_read_latency_ticks"), 0);
    assert_eq!(number(&reset, "num_read_ops"), number(&first, "num_read_ops"));
    load(&luge);
    assert!(number(&stats(&luge), "max_read_latency_ticks") > 0);
    let channels = luge.call("bdev_get_iostat", json!({"name": "m", "per_channel": true}));
    assert!(number(&channels["channels"][0], "max_read_latency_ticks") > 0);
}

#[test]
fn a_histogram_has_what_came_after_it_was_enabled() {
    let luge = loaded();
    let before = stats(&luge);
    luge.call("bdev_enable_histogram", json!({"name": "m", "enable": true, "opc": "read"}));
    assert_eq!(decode(&luge.call("bdev_get_histogram", json!({"name": "m"}))).0, 0);
    load(&luge);
    let (answer, after) = (luge.call("bdev_get_histogram", json!({"name": "m"})), stats(&luge));
    let (count, least) = decode(&answer);
    assert_eq!(count, number(&after, "num_read_ops") - number(&before, "num_read_ops"));
    assert!(least <= number(&after, "max_read_latency_ticks"), "{least} ticks at least in the last bucket");
    assert_eq!(answer["tsc_rate"], luge.call("bdev_get_iostat", Value::Null)["tick_rate"]);
    luge.call("bdev_enable_histogram", json!({"name": "m", "enable": false}));
    let refused = luge.refusal("bdev_get_histogram", json!({"name": "m"}));
    assert!(refused.to_string().contains("bdev_enable_histogram"), "{refused}");
}

#[test]
fn requests_are_counted_by_borders_of_their_latency() {
    let luge = loaded();
    luge.call("bdev_enable_histogram", json!({"name": "m", "enable": true}));
    let before = stats(&luge);
    load(&luge);
    let after = stats(&luge);
    let all = ["num_read_ops", "num_write_ops"].map(|ops| number(&after, ops) - number(&before, ops));
    let year_us = 31_557_600_000_000_u64;
    let answer = luge.call(
        "bdev_get_histogram_borders",
        json!({"name": "m", "borders": [0, 20, 1000, year_us, u64::MAX]}),
    );
    let counts: Vec<u64> = serde_json::from_value(answer["borders_count"].clone()).unwrap();
    assert_eq!(counts.len(), 6);
    assert!(counts.is_sorted(), "{counts:?}");
    assert_eq!(counts[0], 0);
    assert_eq!(counts[3], all.iter().sum::<u64>());
    assert_eq!(counts[5], counts[3]);
}

#[test]
fn all_counters_of_all_devices_or_some_of_one_are_reset() {
    let luge = loaded();
    let first = stats(&luge);
    luge.call("bdev_reset_iostat", json!({"name": "m", "mode": "maxmin"}));
    assert_eq!(number(&stats(&luge), "max_read_latency_ticks"), 0);
    assert_eq!(number(&stats(&luge), "num_read_ops"), number(&first, "num_read_ops"));
    luge.call("bdev_reset_iostat", json!({"mode": "none"}));
    assert_eq!(number(&stats(&luge), "num_read_ops"), number(&first, "num_read_ops"));
    luge.call("bdev_reset_iostat", Value::Null);
    assert_eq!(number(&stats(&luge), "num_read_ops"), 0);
}

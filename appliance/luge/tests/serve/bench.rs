//! `luge bench` against `luge serve`: requests of every kind, and data that is checked.

use crate::daemon::Daemon;
use serde_json::{Value, json};
use std::process::{Command, Output};

fn bench(luge: &Daemon, words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_luge"));
    command.arg("bench").arg(luge.path("v")).args(words.split(' ')).output().unwrap()
}

fn serving(readonly: bool) -> Daemon {
    let luge = Daemon::with(&[]);
    luge.call("bdev_malloc_create", json!({"name": "m", "num_blocks": 16384, "block_size": 512}));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "m", "readonly": readonly}));
    luge
}

#[test]
fn what_is_written_is_read_back_and_every_request_is_counted_on_both_sides() {
    let luge = serving(false);
    let run =
        bench(&luge, "--rw randrw --bs 4k --iodepth 16 --queues 2 --runtime 0.5 --verify crc32c --json");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    let count = |name: &str| report[name].as_u64().unwrap();
    assert!(count("reads") > 0 && count("writes") > 0 && count("ios") == count("reads") + count("writes"));
    assert!(report["target_ns_per_io"].as_f64().unwrap() > 0.0);
    let stats = &luge.call("bdev_get_iostat", json!({"names": ["m"]}))["bdevs"][0];
    // The warm-up before the run is not in the report.
    assert!(stats["num_read_ops"].as_u64().unwrap() >= count("reads"), "{stats}");
    assert!(stats["num_write_ops"].as_u64().unwrap() >= count("writes"), "{stats}");
}

#[test]
fn the_time_that_requests_take_is_that_of_those_outstanding_and_can_be_reset() {
    let luge = serving(false);
    let ask = |params: Value| luge.call("bdev_get_iostat", params);
    let number = |stats: &Value, name: &str| stats["bdevs"][0][name].as_u64().unwrap();
    let start = ask(Value::Null)["ticks"].as_u64().unwrap();
    assert!(bench(&luge, "--rw randrw --bs 4k --iodepth 16 --queues 2 --runtime 0.2").status.success());
    let stats = ask(json!({"names": ["m"], "reset_mode": "all"}));
    let (reads, writes) = (number(&stats, "read_latency_ticks"), number(&stats, "write_latency_ticks"));
    let most = 2 * 16 * (stats["ticks"].as_u64().unwrap() - start);
    assert!(reads > 0 && writes > 0 && reads + writes <= most, "{reads} + {writes}, at most {most}");
    assert_eq!(number(&stats, "unmap_latency_ticks"), 0);
    let stats = ask(json!({"names": ["m"]}));
    for count in ["num_read_ops", "bytes_read", "num_write_ops", "read_latency_ticks", "write_latency_ticks"]
    {
        assert_eq!(number(&stats, count), 0, "{count}");
    }
    let stats = ask(json!({"names": ["m"], "per_channel": true, "reset_mode": "maxmin"}));
    assert_eq!(stats["channels"][0]["num_read_ops"], 0);
}

#[test]
fn a_load_that_makes_no_sense_is_refused_in_a_sentence() {
    let luge = serving(true);
    for (words, sentence) in [
        ("--rw write", "the disk is read-only"),
        ("--bs 100", "--bs 100 is not a multiple of 512"),
        ("--iodepth 0", "--iodepth 0 is not from 1"),
        ("--bs 16m", "less than one request"),
        ("--runtime 0", "--runtime 0 is not from"),
    ] {
        let run = bench(&luge, words);
        let message = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(!run.status.success() && message.contains(sentence), "{words}: {message}");
    }
}

#[test]
fn the_ideal_device_needs_no_server_and_its_numbers_agree() {
    let ideal = |words: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_luge"));
        command.arg("ideal").args(words.split(' ')).output().unwrap()
    };
    let run = ideal("--iodepth 16 --runtime 0.1 --json");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    let number = |name: &str| report[name].as_f64().unwrap();
    assert!(number("ios") > 0.0 && number("seconds") >= 0.1);
    let product = number("iops") * number("target_ns_per_io");
    assert!((product / 1e9 - 1.0).abs() < 1e-6, "{report}");
    for (words, sentence) in [("--runtime 0", "--runtime 0 is not from"), ("--iodepth 513", "1..=512")] {
        let run = ideal(words);
        let message = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(!run.status.success() && message.contains(sentence), "{words}: {message}");
    }
}

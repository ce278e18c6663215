//! `luge bench` against `luge serve`: all kinds of requests, with checks of the data.

use crate::daemon::{Daemon, LUGE, command, eventually, failure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Command, Output, Stdio};

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

/// A disk of 16 requests of 4 KiB on a file, and the file.
fn on_a_file() -> (Daemon, File) {
    let luge = Daemon::with(&[]);
    std::fs::write(luge.path("f"), vec![0; 16 * 4096]).unwrap();
    luge.call("bdev_aio_create", json!({"name": "f", "filename": luge.path("f"), "block_size": 512}));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "f"}));
    let file = File::options().read(true).write(true).open(luge.path("f")).unwrap();
    (luge, file)
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
    // The warm-up before the run only reads, and is not in the report.
    assert!(stats["num_read_ops"].as_u64().unwrap() > count("reads"), "{stats}");
    assert_eq!(stats["num_write_ops"].as_u64().unwrap(), count("writes"), "{stats}");
    assert!(count("verified") > 0 && stats["num_read_ops"].as_u64().unwrap() > count("verified"));
}

#[test]
fn data_that_was_damaged_between_two_runs_is_found_and_named() {
    let (luge, file) = on_a_file();
    let write = bench(&luge, "--rw write --bs 4k --iodepth 4 --runtime 0.5 --verify crc32c");
    assert!(write.status.success(), "{}", String::from_utf8_lossy(&write.stderr));
    let read = "--rw randread --bs 4k --iodepth 4 --runtime 0.5 --verify crc32c";
    assert!(bench(&luge, read).status.success());
    // One bit in each request: whichever is read first.
    for request in 0..16 {
        let (at, mut byte) = (request * 4096 + 2000, [0]);
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    }
    let run = bench(&luge, read);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert_eq!(run.stdout.len(), 0, "{said}");
    assert!(said.contains("luge: wrong data in request ") && said.contains("at byte "), "{said}");
}

#[test]
fn an_interrupted_run_reports_what_was_done_and_nothing_but_that() {
    for signal in [Signal::INT, Signal::TERM] {
        let luge = serving(false);
        let mut run = command(LUGE);
        run.arg("bench").arg(luge.path("v")).args(["--runtime", "3600", "--rw", "write", "--json"]);
        let child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("a write", || {
            let stats = luge.call("bdev_get_iostat", json!({"names": ["m"]}));
            stats["bdevs"][0]["num_write_ops"].as_u64().unwrap() > 0
        });
        // `timeout` sends its signal to the process, and to its group.
        kill_process(Pid::from_child(&child), signal).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.stderr.len(), 0);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(report["ios"].as_u64().unwrap() > 0 && report["seconds"].as_f64().unwrap() < 3600.0);
    }
}

#[test]
fn a_report_has_every_number_by_its_name_and_the_text_none_of_a_terminals_codes() {
    let luge = serving(false);
    let text = bench(&luge, "--runtime 0.1");
    let said = String::from_utf8(text.stdout).unwrap();
    assert!(text.status.success() && text.stderr.is_empty() && !said.contains(['\x1b', '\r']), "{said}");
    for word in ["IOPS", "bandwidth", "99.99:", "target CPU per I/O", "% busy", "cache line", "interrupts"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let run = bench(&luge, "--runtime 0.1 --json");
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    let names: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let first = ["options", "ios", "reads", "writes", "seconds", "iops", "bytes_per_second", "latency_ns"];
    let second = ["generator_busy", "generator_ns_per_io", "target_ns_per_io", "cache_line_round_trip_ns"];
    let third = ["verified", "reconnects", "kicks_per_io", "interrupts_per_io"];
    assert_eq!(names, [first.as_slice(), &second, &third].concat());
    let names: Vec<&str> = report["latency_ns"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["mean", "min", "p50", "p90", "p99", "p99_9", "p99_99", "max", "histogram"]);
}

#[test]
fn a_reader_that_has_gone_is_an_error_in_a_sentence() {
    let luge = serving(false);
    let mut run = command(LUGE);
    run.arg("bench").arg(luge.path("v")).args(["--runtime", "0.1"]);
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("cannot print the result"), "{said}");
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
fn a_socket_that_is_none_is_refused_in_a_sentence() {
    let luge = serving(false);
    std::fs::write(luge.path("file"), "").unwrap();
    for (name, sentence) in [("none", "No such file"), ("file", "Connection refused")] {
        assert!(failure(&["bench", &luge.path(name)]).contains(sentence));
    }
    // It is a socket, but of something else.
    let said = failure(&["bench", &luge.path("rpc.sock")]);
    assert!(said.contains("rpc.sock: SET_OWNER") || said.contains("rpc.sock: GET_FEATURES"), "{said}");
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

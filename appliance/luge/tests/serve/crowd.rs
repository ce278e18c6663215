//! Many clients and large requests, which must neither lock others out nor use up memory.

use crate::daemon::{Daemon, TIMEOUT, eventually};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// Memory limit of the daemon in KiB. Requests and answers may take 32 MiB each, the values of one request as
/// much, and the daemon itself 13 MiB.
const MEMORY_KIB: u64 = 128 << 10;

fn connect(luge: &Daemon) -> UnixStream {
    let stream = UnixStream::connect(luge.socket()).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

fn request(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).to_string()
}

fn answer(stream: &UnixStream) -> Value {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or(Value::Null)
}

/// Client that waits for a device which does not exist.
fn waiting(luge: &Daemon, name: &str) -> UnixStream {
    let mut stream = connect(luge);
    stream
        .write_all(request("bdev_get_bdevs", &json!({"name": name, "timeout": 100_000})).as_bytes())
        .unwrap();
    stream
}

/// Peak memory of the daemon in KiB.
fn peak_kib(luge: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", luge.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

fn threads(luge: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", luge.child.id())).unwrap().count()
}

fn null(name: &str) -> Value {
    json!({"name": name, "num_blocks": 8, "block_size": 512})
}

#[test]
fn clients_that_wait_and_leave_take_nobodys_place() {
    let luge = Daemon::start();
    let before = threads(&luge);
    for _ in 0..5 {
        let gone: Vec<_> = (0..64).map(|_| waiting(&luge, "nope")).collect();
        drop(gone);
        luge.call("bdev_get_bdevs", Value::Null);
    }
    eventually("the end of the calls of clients that left", || threads(&luge) <= before + 1);
}

#[test]
fn clients_that_wait_and_stay_lock_nobody_out_and_get_their_answers() {
    let luge = Daemon::start();
    let waiters: Vec<_> = (0..64).map(|_| waiting(&luge, "late")).collect();
    luge.call("bdev_null_create", null("other"));
    luge.call("bdev_null_create", null("late"));
    for waiter in &waiters {
        assert_eq!(answer(waiter)["result"][0]["name"], "late");
    }
}

#[test]
fn an_operator_gets_in_however_many_clients_wait() {
    let luge = Daemon::start();
    let waiters: Vec<_> = (0..400).map(|_| waiting(&luge, "nope")).collect();
    luge.call("bdev_null_create", null("n"));
    assert_eq!(luge.call("bdev_get_bdevs", Value::Null).as_array().unwrap().len(), 1);
    drop(waiters);
}

#[test]
fn silent_clients_make_room_and_those_that_have_called_stay() {
    let luge = Daemon::start();
    let waiter = waiting(&luge, "late");
    let mut idle = luge.client();
    idle.call("spdk_get_version", Value::Null).unwrap();
    let mut newcomers: Vec<_> = (0..400).map(|_| luge.client()).collect();
    luge.call("bdev_null_create", null("late"));
    assert_eq!(answer(&waiter)["result"][0]["name"], "late");
    assert!(idle.call("spdk_get_version", Value::Null).is_ok(), "a client that had called was closed");
    assert!(newcomers[399].call("spdk_get_version", Value::Null).is_ok(), "the newest client was closed");
    assert!(
        newcomers[0].call("spdk_get_version", Value::Null).is_err(),
        "the oldest silent one was not closed"
    );
}

#[test]
fn a_client_that_ends_only_its_own_side_still_gets_the_answer_it_waits_for() {
    let luge = Daemon::start();
    let waiter = waiting(&luge, "late");
    waiter.shutdown(Shutdown::Write).unwrap();
    luge.call("spdk_get_version", Value::Null);
    luge.call("bdev_null_create", null("late"));
    assert_eq!(answer(&waiter)["result"][0]["name"], "late");
}

#[test]
fn a_batch_of_80000_calls_is_refused_with_the_limit_and_costs_next_to_nothing() {
    let luge = Daemon::start();
    for at in 0..100 {
        luge.call("bdev_null_create", null(&format!("n{at}")));
    }
    let one = r#"{"jsonrpc":"2.0","id":1,"method":"bdev_get_bdevs"}"#;
    let batch = format!("[{}]", vec![one; 80_000].join(","));
    assert!(batch.len() < 4 << 20);
    let mut stream = connect(&luge);
    stream.write_all(batch.as_bytes()).unwrap();
    let refusal = answer(&stream);
    assert_eq!(refusal["error"]["code"], -32600, "{refusal}");
    assert!(refusal["error"]["message"].as_str().unwrap().contains("1024"), "{refusal}");
    assert!(peak_kib(&luge) < MEMORY_KIB, "{} KiB", peak_kib(&luge));
}

#[test]
fn answers_of_a_batch_arrive_while_its_last_call_still_waits() {
    let luge = Daemon::start();
    let mut stream = connect(&luge);
    let call = |id: u32, params: Value| json!({"jsonrpc": "2.0", "id": id, "method": "bdev_get_bdevs", "params": params});
    let batch = json!([call(1, json!({})), call(2, json!({"name": "late", "timeout": 100_000}))]);
    stream.write_all(batch.to_string().as_bytes()).unwrap();
    let mut first = Vec::new();
    let mut reader = BufReader::new(&stream);
    reader.read_until(b'}', &mut first).unwrap();
    assert_eq!(String::from_utf8(first).unwrap(), r#"[{"jsonrpc":"2.0","id":1,"result":[]}"#);
    luge.call("bdev_null_create", null("late"));
    let mut rest = String::new();
    reader.read_line(&mut rest).unwrap();
    assert!(rest.starts_with(',') && rest.ends_with("]\n"), "{rest}");
}

#[test]
fn many_clients_that_send_without_end_or_never_read_cost_a_bounded_amount() {
    let luge = Daemon::start();
    for at in 0..300 {
        luge.call("bdev_null_create", null(&format!("n{at}")));
    }
    let one = request("bdev_get_bdevs", &Value::Null);
    let batch = format!("[{}]", vec![one.as_str(); 1000].join(","));
    let endless = format!("{{\"method\":\"{}", "x".repeat(4_000_000));
    let deep =
        format!("{{\"method\":\"x\",\"params\":{{\"a\":[{}]}}}}", vec!["{\"a\":1}"; 500_000].join(","));
    std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..90)
            .map(|at| {
                let stream = connect(&luge);
                stream.set_write_timeout(Some(TIMEOUT)).unwrap();
                let text = [&batch, &endless, &deep][at % 3];
                let sender = stream.try_clone().unwrap();
                scope.spawn(move || (&sender).write_all(text.as_bytes()));
                stream
            })
            .collect();
        for _ in 0..20 {
            assert_eq!(luge.call("bdev_get_bdevs", json!({"name": "n7"}))[0]["name"], "n7");
        }
        attackers.iter().for_each(|stream| stream.shutdown(Shutdown::Both).unwrap_or_default());
    });
    assert!(peak_kib(&luge) < MEMORY_KIB, "{} KiB", peak_kib(&luge));
}

#[test]
fn nested_values_of_many_clients_take_the_memory_of_one_and_give_it_back() {
    let luge = Daemon::start();
    let nested = |count: usize| {
        let list = vec![r#"{"a":{"a":0}}"#; count].join(",");
        format!(r#"{{"method":"bdev_get_bdevs","params":{{"a":[{list}]}},"id":1}}"#)
    };
    // One that is just small enough, and one that is refused.
    let texts = [nested(22_000), nested(80_000)];
    std::thread::scope(|scope| {
        for at in 0..16 {
            let (stream, text) = (connect(&luge), &texts[at % 2]);
            scope.spawn(move || {
                (&stream).write_all(text.as_bytes()).unwrap();
                assert!(answer(&stream)["error"].is_object());
            });
        }
    });
    assert!(peak_kib(&luge) < MEMORY_KIB, "{} KiB", peak_kib(&luge));
}

#[test]
fn a_request_without_a_version_or_with_members_of_its_own_is_taken() {
    let luge = Daemon::start();
    for request in [
        r#"{"method": "bdev_get_bdevs", "id": 1}"#,
        r#"{"jsonrpc": "2.0", "method": "bdev_get_bdevs", "id": 1, "trace": {"span": 7}, "x": null}"#,
    ] {
        let mut stream = connect(&luge);
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(answer(&stream), json!({"jsonrpc": "2.0", "id": 1, "result": []}), "{request}");
    }
    let mut stream = connect(&luge);
    stream.write_all(br#"{"jsonrpc": "1.0", "method": "bdev_get_bdevs", "id": 1}"#).unwrap();
    assert_eq!(answer(&stream)["error"]["code"], -32600);
}

#[test]
fn a_huge_name_is_cut_short_in_the_answer() {
    let luge = Daemon::start();
    let huge = "x".repeat(1 << 20);
    for request in [request(&huge, &Value::Null), request("bdev_get_bdevs", &json!({ huge.as_str(): 1 }))] {
        let mut stream = connect(&luge);
        stream.write_all(request.as_bytes()).unwrap();
        let refusal = answer(&stream).to_string();
        assert!(refusal.contains("error") && refusal.len() < 8192, "{} bytes", refusal.len());
    }
}

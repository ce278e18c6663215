//! The trace of a daemon, and `luge trace`.

use crate::daemon::{Daemon, eventually, failure, luge};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::Path;

/// Daemon in a folder, with its trace there.
fn traced(folder: tempfile::TempDir) -> Daemon {
    let path = folder.path().join("trace").to_str().unwrap().to_owned();
    Daemon::within(folder, &["--trace", &path])
}

/// Events of a trace.
fn events(path: &str) -> Vec<Value> {
    let output = luge(&["trace", path, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn has(events: &[Value], kind: &str) -> bool {
    events.iter().any(|event| event["kind"] == kind)
}

#[test]
fn a_killed_daemon_leaves_its_trace_and_the_next_one_keeps_it() {
    let mut daemon = traced(tempfile::tempdir().unwrap());
    daemon.call("bdev_null_create", json!({"name": "n", "num_blocks": 8192, "block_size": 512}));
    daemon.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "n"}));
    let bench = luge(&["bench", &daemon.path("v"), "--runtime", "0.1"]);
    assert!(bench.status.success(), "{}", String::from_utf8_lossy(&bench.stderr));
    let path = daemon.path("trace");
    eventually("the end of the session in the trace", || has(&events(&path), "session_stopped"));
    daemon.signal(Signal::KILL);
    assert_eq!(daemon.exit_code(), None);

    let left = events(&path);
    assert_eq!(left[0]["kind"], "started");
    let session = left.iter().find(|event| event["kind"] == "session_started").unwrap();
    assert!(session["core"].is_u64(), "{session}");
    let connected = |event: &Value| event["text"].as_str().unwrap().contains("has connected");
    assert!(left.iter().any(connected), "no line of the log: {left:?}");

    let folder = std::mem::replace(&mut daemon.folder, tempfile::tempdir().unwrap());
    let next = traced(folder);
    assert_eq!(events(&next.path("trace.previous")), left);
    assert!(!has(&events(&next.path("trace")), "session_started"));
}

#[test]
fn a_daemon_that_stops_says_so_at_the_end_of_its_trace() {
    let mut daemon = traced(tempfile::tempdir().unwrap());
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.exit_code(), Some(0));
    assert_eq!(events(&daemon.path("trace")).last().unwrap()["kind"], "stopped");
}

#[test]
fn a_running_daemon_tells_its_trace_also_without_a_file() {
    let daemon = Daemon::start();
    let all = daemon.call("luge_get_trace", json!({}));
    assert_eq!(all["events"][0]["kind"], "started", "{all}");
    assert_eq!(daemon.call("luge_get_trace", json!({"count": 0}))["events"], json!([]));
    let newest = daemon.call("luge_get_trace", json!({"count": 1}))["events"].clone();
    assert_eq!(newest.as_array().map(Vec::len), Some(1), "{newest}");

    let printed = luge(&["trace", "--socket", &daemon.path("rpc.sock")]);
    let text = String::from_utf8_lossy(&printed.stdout);
    let first = text.lines().next().unwrap_or_default();
    assert!(first.contains("process     started          "), "{printed:?}");
    assert!(failure(&["trace", "--socket", &daemon.path("nobody")]).contains("nobody"));
}

#[test]
fn a_trace_has_one_process_at_a_time() {
    let daemon = traced(tempfile::tempdir().unwrap());
    let path = daemon.path("trace");
    let said = failure(&["serve", "--no-huge", "-s", "16", "-r", &daemon.path("r"), "--trace", &path]);
    assert!(said.contains("is the trace of another process that runs"), "{said}");
    assert!(!Path::new(&daemon.path("trace.previous")).exists());
    assert!(has(&events(&path), "started"));
}

#[test]
fn a_file_that_is_no_trace_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter");
    std::fs::write(&path, "a letter").unwrap();
    let path = path.to_str().unwrap();
    let socket = folder.path().join("r");
    let said = failure(&["serve", "--no-huge", "-s", "16", "-r", socket.to_str().unwrap(), "--trace", path]);
    assert!(said.contains("letter exists and is no trace"), "{said}");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "a letter");
    assert!(failure(&["trace", path]).contains("it is no trace of Luge"));
    assert!(failure(&["trace", folder.path().to_str().unwrap()]).contains("it is no trace of Luge"));
}

#[test]
fn a_trace_that_is_cut_off_is_printed_as_far_as_it_goes() {
    let mut daemon = traced(tempfile::tempdir().unwrap());
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.exit_code(), Some(0));
    let path = daemon.path("trace");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let whole = file.metadata().unwrap().len();
    file.set_len(whole - 1000).unwrap();
    let output = luge(&["trace", &path]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("started"), "{output:?}");
    assert!(failure(&["trace", &path]).contains("the last 1000 bytes of the trace are missing"));
    file.set_len(100).unwrap();
    assert!(failure(&["trace", &path]).contains("it is cut off after 100 bytes"));
}

#[test]
fn a_trace_in_a_folder_that_is_not_there_is_refused_before_anything_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let said =
        failure(&["serve", "--no-huge", "-s", "16", "-r", &path("r"), "--trace", &path("absent/trace")]);
    assert!(said.contains("absent/trace cannot be written"), "{said}");
    assert!(!folder.path().join("r").exists());
}

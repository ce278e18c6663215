//! An exporter and its Luge, of which either may be away.

use super::rig::Exporter;
use crate::daemon::{Daemon, eventually, failure};
use rustix::process::Signal;
use serde_json::{Value, json};

fn is_up(exporter: &Exporter) -> bool {
    exporter.get("/metrics").contains("\nluge_up 1\n")
}

#[test]
fn a_luge_that_goes_away_and_comes_back_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let exporter = Exporter::of(&folder.path().join("rpc.sock"));
    assert!(!is_up(&exporter), "no Luge is there yet");
    let why = serde_json::from_str::<Value>(&exporter.get("/api/sled.json")).unwrap();
    assert!(why["why"].as_str().unwrap().starts_with("no Luge answers at "), "{why}");
    let mut luge = Daemon::within(folder, &[]);
    eventually("luge_up 1", || is_up(&exporter));
    luge.signal(Signal::TERM);
    assert_eq!(luge.exit_code(), Some(0));
    eventually("luge_up 0", || !is_up(&exporter));
    let folder = std::mem::replace(&mut luge.folder, tempfile::tempdir().unwrap());
    let _again = Daemon::within(folder, &[]);
    eventually("luge_up 1 again", || is_up(&exporter));
}

#[test]
fn two_exporters_show_one_luge() {
    let luge = Daemon::start();
    luge.call("bdev_null_create", json!({"name": "n", "num_blocks": 8, "block_size": 512}));
    let exporters = [Exporter::of(&luge.socket()), Exporter::of(&luge.socket())];
    for exporter in &exporters {
        let metrics = exporter.get("/metrics");
        assert!(metrics.contains("luge_volume_size_bytes{volume=\"n\"} 4096\n"), "{metrics}");
    }
}

#[test]
fn a_port_that_is_taken_is_refused_with_the_remedy() {
    let luge = Daemon::start();
    let exporter = Exporter::of(&luge.socket());
    let said = failure(&["exporter", "-s", &luge.path("rpc.sock"), "--listen", &exporter.address]);
    assert!(said.contains(&exporter.address) && said.contains("--listen"), "{said}");
}

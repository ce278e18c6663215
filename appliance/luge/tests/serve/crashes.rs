//! Servers that are killed under load, and their successors.

use crate::daemon::{Daemon, LUGE, command, eventually};
use luge_seeded::fuzz;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

/// A disk of 8 MiB on a file, and the configuration that serves it.
struct KilledSled {
    luge: Daemon,
    kills: u64,
}

impl KilledSled {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("f"), vec![0; 8 << 20]).unwrap();
        let calls = json!([
            {"method": "bdev_aio_create", "params": {"name": "f", "filename": path("f"), "block_size": 512}},
            {"method": "vhost_create_blk_controller", "params": {"ctrlr": "v", "dev_name": "f"}},
        ]);
        let config = json!({"subsystems": [{"subsystem": "bdev", "config": calls}]});
        std::fs::write(path("config.json"), config.to_string()).unwrap();
        Self { luge: serve(folder), kills: 0 }
    }

    /// Kills the server, and starts the next one.
    fn kill(&mut self) {
        self.luge.signal(Signal::KILL);
        assert_eq!(self.luge.exit_code(), None);
        let folder = std::mem::replace(&mut self.luge.folder, tempfile::tempdir().unwrap());
        self.luge = serve(folder);
        self.kills += 1;
    }

    /// Starts a load that checks its data; returns when the load runs.
    fn load(&self, words: &str) -> Child {
        let mut bench = command(LUGE);
        bench.arg("bench").arg(self.luge.path("v")).args(words.split(' '));
        let load = bench.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The warm-up before it only reads.
        eventually("the load", || {
            let stats = self.luge.call("bdev_get_iostat", json!({"names": ["f"]}));
            stats["bdevs"][0]["num_write_ops"].as_u64() > Some(0)
        });
        load
    }
}

fn serve(folder: tempfile::TempDir) -> Daemon {
    let config = folder.path().join("config.json").to_str().unwrap().to_owned();
    Daemon::within(folder, &["-c", &config])
}

fn report(run: &Output) -> Value {
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

#[test]
fn a_server_that_is_killed_again_and_again_under_load_loses_no_request_and_repeats_none() {
    fuzz(|random| {
        let mut sled = KilledSled::start();
        let load = sled.load(
            "--rw randrw --bs 4k --iodepth 24 --queues 3 --runtime 2 --verify crc32c --reconnect --json",
        );
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(random.below(200_u64)));
            sled.kill();
        }
        let report = report(&load.wait_with_output().unwrap());
        // A kill before the front end has set its rings up again is none that it counts.
        let reconnects = report["reconnects"].as_u64().unwrap();
        assert!((1..=sled.kills).contains(&reconnects), "{} kills: {report}", sled.kills);
        assert!(report["verified"].as_u64().unwrap() > 0, "{report}");
    });
}

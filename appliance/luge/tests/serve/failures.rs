//! Disks that fail: requests are counted, and the log has few lines about them.

use crate::daemon::{Daemon, LUGE, command, eventually};
use serde_json::{Value, json};
use std::fs::File;
use std::process::Command;

/// A disk of 1 MiB on a file, for a daemon that logs into the file `log` of its folder.
struct Failing {
    luge: Daemon,
    file: String,
}

impl Failing {
    /// Disk on a file that is cut off.
    fn cut_short() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (file, log) = (folder.path().join("f"), folder.path().join("log"));
        File::create(&file).unwrap().set_len(1 << 20).unwrap();
        let luge = Daemon::logging(command(LUGE), folder, File::create(log).unwrap());
        let failing = Self { file: file.to_str().unwrap().to_owned(), luge };
        failing.serve();
        File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
        failing
    }

    /// Disk on tmpfs with space for a sixteenth of the file.
    fn in_a_full_tmpfs() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (small, log) = (folder.path().join("small"), folder.path().join("log"));
        std::fs::create_dir(&small).unwrap();
        let mut shell = command("unshare");
        let script = "mount -t tmpfs -o size=64k none \"$0\" && truncate -s 1M \"$0/f\" && exec \"$@\"";
        shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(&small).arg(LUGE);
        let luge = Daemon::logging(shell, folder, File::create(log).unwrap());
        let failing = Self { file: small.join("f").to_str().unwrap().to_owned(), luge };
        failing.serve();
        failing
    }

    fn serve(&self) {
        let disk = json!({ "name": "f", "filename": self.file, "block_size": 512 });
        self.luge.call("bdev_aio_create", disk);
        self.luge.call("bdev_split_create", json!({ "base_bdev": "f", "split_count": 2 }));
        self.luge.call("vhost_create_blk_controller", json!({ "ctrlr": "v", "dev_name": "fp1" }));
    }

    /// Sends requests until one fails.
    fn load(&self, kind: &str) {
        let words = ["bench", &self.luge.path("v"), "--rw", kind, "--bs", "4k", "--runtime", "30"];
        let run = Command::new(LUGE).args(words).output().unwrap();
        assert_eq!(run.status.code(), Some(1), "{}", String::from_utf8_lossy(&run.stdout));
    }

    fn stats(&self, params: Value) -> Value {
        self.luge.call("bdev_get_iostat", params)["bdevs"][0].clone()
    }

    fn failures(&self, params: Value) -> u64 {
        self.stats(params)["io_error"]["aio_error"].as_u64().unwrap_or(0)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.luge.path("log")).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        let log = self.log();
        log.lines().filter(|line| line.contains("bdev f: ")).map(str::to_owned).collect()
    }
}

#[test]
fn a_disk_whose_file_was_cut_short_counts_its_failures_and_names_one() {
    let failing = Failing::cut_short();
    assert_eq!(failing.stats(json!({ "names": ["fp1"] }))["io_error"], json!({}));
    failing.load("read");
    assert!(failing.failures(json!({ "names": ["fp1"] })) > 0);
    assert_eq!(failing.failures(json!({ "names": ["fp0"] })), 0, "another part of the disk");
    eventually("a line", || !failing.lines().is_empty());
    let line = failing.lines().remove(0);
    // The part begins in the middle of the disk.
    assert!(line.contains("ERROR") && line.contains("read of LBA 1"), "{line}");
    assert!(line.contains("the media lost the data"), "{line}");
}

#[test]
fn a_disk_in_a_full_tmpfs_counts_its_failures_and_names_one() {
    let failing = Failing::in_a_full_tmpfs();
    failing.load("write");
    assert!(failing.failures(json!({ "names": ["fp1"] })) > 0);
    eventually("a line", || !failing.lines().is_empty());
    let line = failing.lines().remove(0);
    assert!(line.contains("write of ") && line.contains("no room left"), "{line}");
}

#[test]
fn failures_are_reset_by_themselves_and_with_all_else() {
    for mode in ["error", "all"] {
        let failing = Failing::cut_short();
        failing.load("read");
        let read = |mode: &str| failing.stats(json!({ "names": ["fp1"], "reset_mode": mode }));
        let before = read(mode);
        assert!(before["io_error"]["aio_error"].as_u64().unwrap() > 0, "{before}");
        let after = read("none");
        assert_eq!(after["io_error"], json!({}));
        assert_eq!(after["num_read_ops"] == json!(0), mode == "all", "{after}");
    }
}

#[test]
fn a_disk_that_fails_again_and_again_has_a_line_a_second() {
    let failing = Failing::cut_short();
    let start = std::time::Instant::now();
    for _ in 0..20 {
        failing.load("randread");
    }
    eventually("a line", || !failing.lines().is_empty());
    let most = usize::try_from(start.elapsed().as_secs()).unwrap() + 2;
    assert!(failing.lines().len() <= most, "{:#?}", failing.lines());
}

#[test]
fn failures_just_before_the_end_are_logged_too() {
    let mut failing = Failing::cut_short();
    failing.load("read");
    failing.luge.signal(rustix::process::Signal::TERM);
    assert_eq!(failing.luge.exit_code(), Some(0));
    assert_eq!(failing.lines().len(), 1, "{}", failing.log());
}

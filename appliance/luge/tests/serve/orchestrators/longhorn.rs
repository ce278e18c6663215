//! Longhorn: tabs, `params` always there, one connection; typed answers.

use super::{TIMEOUT, answer_of, with_file};
use crate::daemon::Daemon;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::net::UnixStream;

struct Longhorn(UnixStream, u32);

impl Longhorn {
    fn of(luge: &Daemon) -> Self {
        let stream = UnixStream::connect(luge.socket()).unwrap();
        stream.set_read_timeout(TIMEOUT).unwrap();
        Self(stream, 4711)
    }

    fn answer(&mut self, method: &str, params: &Value) -> Value {
        self.1 += 1;
        let text = format!(
            "{{\n\t\"id\": {},\n\t\"jsonrpc\": \"2.0\",\n\t\"method\": \"{method}\",\n\t\"params\": {params}\n}}\n",
            self.1
        );
        self.0.write_all(text.as_bytes()).unwrap();
        let answer = answer_of(&mut self.0);
        assert_eq!(answer["id"], self.1);
        answer
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, &params);
        assert_eq!(answer.get("error"), None, "{method} {params}");
        answer["result"].clone()
    }
}

#[test]
fn a_disk_is_added_listed_measured_and_removed() {
    let (luge, file) = with_file("disk");
    let mut longhorn = Longhorn::of(&luge);
    let aio = json!({"name": "disk-1", "filename": file, "block_size": 4096});
    assert_eq!(longhorn.call("bdev_aio_create", aio), "disk-1");
    let disk = longhorn.call("bdev_get_bdevs", json!({"name": "disk-1", "timeout": 3}))[0].clone();
    assert_eq!(disk["product_name"], "AIO disk");
    assert_eq!(disk["block_size"], 4096);
    assert_eq!(disk["num_blocks"], 256);
    assert_eq!(disk["driver_specific"]["aio"]["filename"], file);
    assert_eq!(disk["driver_specific"]["aio"]["block_size_override"], true);
    assert_eq!(disk["assigned_rate_limits"]["rw_ios_per_sec"], 0);
    assert_eq!(longhorn.call("bdev_get_bdevs", Value::Null), json!([disk]));
    let stats = longhorn.call("bdev_get_iostat", json!({"name": "disk-1"}));
    assert_eq!(stats["bdevs"][0]["name"], "disk-1");
    assert_eq!(stats["bdevs"][0]["write_latency_ticks"], 0);
    assert_eq!(longhorn.call("bdev_aio_delete", json!({"name": "disk-1"})), true);
}

#[test]
fn errors_have_the_codes_and_words_that_it_knows() {
    let (luge, file) = with_file("disk");
    let mut longhorn = Longhorn::of(&luge);
    let aio = |name: &str, file: &str| json!({"name": name, "filename": file, "block_size": 4096});
    longhorn.call("bdev_aio_create", aio("a", &file));
    for (params, code, word) in [
        (aio("a", &file), -17, "File exists"),
        (aio("b", &file), -16, "Device or resource busy"),
        (aio("b", "/nowhere/disk"), -2, "No such file or directory"),
    ] {
        let error = longhorn.answer("bdev_aio_create", &params)["error"].clone();
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
    }
    let error = longhorn.answer("bdev_get_bdevs", &json!({"name": "gone"}))["error"].clone();
    assert_eq!(error["code"], -19);
}

#[test]
fn an_ssd_is_asked_for_with_its_time_outs() {
    let (luge, _) = with_file("disk");
    let attach = json!({"name": "disk-2", "trtype": "pcie", "traddr": "ffff:ff:1f.7", "multipath": "disable",
        "ctrlr_loss_timeout_sec": 30, "reconnect_delay_sec": 2, "fast_io_fail_timeout_sec": 15});
    let mut longhorn = Longhorn::of(&luge);
    let error = longhorn.answer("bdev_nvme_attach_controller", &attach)["error"].clone();
    assert_eq!(error["code"], -19);
    assert!(error["message"].as_str().unwrap().contains("no PCI device ffff:ff:1f.7"), "{error}");
    assert_eq!(longhorn.call("bdev_nvme_get_controllers", Value::Null), json!([]));
}

#[test]
fn time_outs_that_have_no_effect_are_named_in_the_log_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let luge = Daemon::with_log(std::fs::File::create(&log).unwrap());
    let attach = json!({"name": "disk-2", "trtype": "pcie", "traddr": "ffff:ff:1f.7",
        "ctrlr_loss_timeout_sec": 15, "reconnect_delay_sec": 2, "fast_io_fail_timeout_sec": 10});
    let mut longhorn = Longhorn::of(&luge);
    for _ in 0..3 {
        longhorn.answer("bdev_nvme_attach_controller", &attach);
    }
    let said = std::fs::read_to_string(&log).unwrap();
    assert_eq!(said.matches("ctrlr_loss_timeout_sec").count(), 1, "{said}");
}

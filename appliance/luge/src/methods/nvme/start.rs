//! Tests of a start with several SSDs, one of which hangs: each disk is served as soon as its own SSD is there.

use super::machine::Machine;
use luge_nvme::scripted::Rig;
use luge_rpc::Stage;
use serde_json::{Value, json};
use std::thread;

fn configuration(endpoints: &[(&str, &str)]) -> Value {
    let attach = |(name, bus): (&str, u32)| {
        let traddr = format!("{bus}:0.0");
        json!({ "method": "bdev_nvme_attach_controller",
            "params": { "name": name, "trtype": "PCIe", "traddr": traddr } })
    };
    let serve = |(ctrlr, dev_name): &(&str, &str)| json!({ "method": "vhost_create_blk_controller", "params": { "ctrlr": ctrlr, "dev_name": dev_name } });
    let split = json!({ "method": "bdev_split_create", "params": { "base_bdev": "cn1", "split_count": 2 } });
    let mut bdevs: Vec<Value> = [("a", 1), ("b", 2), ("c", 3)].map(attach).into();
    bdevs.push(split);
    let endpoints: Vec<Value> = endpoints.iter().map(serve).collect();
    json!({ "subsystems": [
        { "subsystem": "bdev", "config": bdevs },
        { "subsystem": "vhost_blk", "config": endpoints },
    ]})
}

#[test]
fn each_disk_is_served_as_soon_as_its_own_ssd_is_there() {
    let machine = Machine::new();
    let host = machine.host(&configuration(&[("on_a", "an1"), ("on_b", "bn1"), ("on_c", "cn1p1")]));
    thread::scope(|scope| {
        let started = scope.spawn(|| machine.start(&host));
        Rig::until("the others serve", || machine.served() == ["on_b", "on_c"]);
        machine.use_disk("on_b", &machine.ssds[1]);
        machine.use_disk("on_c", &machine.ssds[2]);
        assert_eq!(machine.start(&host).unwrap_err().code.0, -16, "nobody is kept waiting for that");
        assert_eq!(machine.dispatcher.stage(), Stage::Startup, "the first SSD still hangs");
        machine.ssds[0].become_ready();
        started.join().unwrap().unwrap();
    });
    assert_eq!(machine.served(), ["on_a", "on_b", "on_c"]);
    assert_eq!(machine.dispatcher.stage(), Stage::Runtime);
    machine.use_disk("on_a", &machine.ssds[0]);
}

#[test]
fn a_start_with_an_ssd_that_does_not_come_up_leaves_nothing_behind() {
    let machine = Machine::new();
    let host = machine.host(&configuration(&[("on_a", "an1"), ("on_b", "bn1")]));
    thread::scope(|scope| {
        let started = scope.spawn(|| machine.start(&host));
        Rig::until("the other serves", || machine.served() == ["on_b"]);
        machine.ssds[0].script(|script| script.present = false);
        let error = started.join().unwrap().unwrap_err();
        assert!(
            error.message.starts_with("subsystem bdev, entry 0 (bdev_nvme_attach_controller)"),
            "{error}"
        );
    });
    assert!(machine.served().is_empty());
    assert_eq!(machine.ssds[1].account().shutdowns, 1);
    assert!(!machine.folder.path().join("on_b").exists());
    assert_eq!(machine.dispatcher.stage(), Stage::Startup);
}

//! Tests of LUNs whose SSDs are detached, go, or do not answer.

use super::machine::Machine;
use crate::control::Subsystem;
use luge_nvme::scripted::{Rig, ScriptedSsd};
use luge_rpc::Stage;
use serde_json::{Value, json};
use std::thread;

/// A machine with a SCSI controller `s`, whose target 0 is on the second SSD and whose target 1 is on the third.
fn serving() -> Machine {
    let machine = Machine::new();
    machine.dispatcher.enter(Stage::Runtime);
    machine.call("vhost_create_scsi_controller", json!({ "ctrlr": "s" })).unwrap();
    for (name, address, target) in [("b", "2:0.0", 0), ("c", "3:0.0", 1)] {
        let params = json!({ "name": name, "trtype": "PCIe", "traddr": address });
        machine.call("bdev_nvme_attach_controller", params).unwrap();
        add(&machine, target, &format!("{name}n1"));
    }
    machine
}

fn add(machine: &Machine, target: u8, bdev: &str) {
    let params = json!({ "ctrlr": "s", "scsi_target_num": target, "bdev_name": bdev });
    machine.call("vhost_scsi_controller_add_target", params).unwrap();
}

fn luns(machine: &Machine) -> Vec<Value> {
    let shown = machine.call("vhost_get_controllers", json!({ "name": "s" })).unwrap();
    let targets = shown[0]["backend_specific"]["scsi"].as_array().unwrap().clone();
    targets.into_iter().map(|target| target["luns"][0]["bdev_name"].clone()).collect()
}

/// Waits until the guest has a request at the SSD. The first commands of a guest are no requests of it.
fn until_busy(ssd: &ScriptedSsd) {
    Rig::until("a request is in flight", || ssd.tail(1) > 0);
}

/// Ends an SSD as the host does that takes it away.
fn pull(machine: &Machine, ssd: &str) {
    let name = ssd.to_owned();
    let controller = machine.control.ask(move |sled| Ok(sled.ssds.get(&name)?.controller.clone())).unwrap();
    controller.shutdown().unwrap();
}

#[test]
fn the_luns_of_an_ssd_that_is_gone_are_removed_and_all_others_stay() {
    let machine = serving();
    pull(&machine, "b");
    Rig::until("its LUN is removed", || luns(&machine) == ["cn1"]);
    let calls = machine.control.ask(|sled| Ok(sled.calls(Subsystem::VhostScsi))).unwrap();
    assert!(calls.iter().all(|call| call.params["bdev_name"] != "bn1"), "{calls:?}");
    let again = json!({ "ctrlr": "s", "scsi_target_num": 0, "bdev_name": "bn1" });
    let refusal = machine.call("vhost_scsi_controller_add_target", again).unwrap_err();
    assert_eq!(refusal.code.0, -5);
    assert!(refusal.message.contains("SSD b, which is gone"), "{refusal}");
    let shown = machine.call("bdev_get_bdevs", json!({ "name": "bn1" })).unwrap();
    assert_eq!(shown[0]["claimed"], false);
}

#[test]
fn a_lun_on_a_slow_ssd_is_removed_when_its_requests_have_ended_and_holds_up_nobody() {
    let machine = serving();
    let slow = &machine.ssds[1];
    let remove = json!({ "ctrlr": "s", "scsi_target_num": 0 });
    thread::scope(|scope| {
        let guest = scope.spawn(|| machine.read_lun("s", 0));
        until_busy(slow);
        let removed = scope.spawn(|| machine.call("vhost_scsi_controller_remove_target", remove.clone()));
        Rig::until("it is being removed", || {
            let shown = machine.call("vhost_get_controllers", json!({ "name": "s" })).unwrap();
            shown[0]["backend_specific"]["scsi"][0]["luns"][0]["state"] == "removing"
        });
        let again = machine.call("vhost_scsi_controller_remove_target", remove.clone()).unwrap_err();
        assert_eq!(again.code.0, -16, "{again}");
        let deleted = machine.call("vhost_delete_controller", json!({ "ctrlr": "s", "force": true }));
        assert_eq!(deleted.unwrap_err().code.0, -16);
        let remove_other = json!({ "ctrlr": "s", "scsi_target_num": 1 });
        machine.call("vhost_scsi_controller_remove_target", remove_other).unwrap();
        add(&machine, 7, "cn1");
        assert!(!removed.is_finished(), "its request is still in flight");
        Rig::until("the SSD has answered", || {
            slow.step();
            removed.is_finished()
        });
        removed.join().unwrap().unwrap();
        assert_eq!(luns(&machine), ["cn1"]);
        assert!(guest.join().unwrap().is_err(), "its LUN is gone");
    });
    assert_eq!(slow.io_queues(), 0);
}

#[test]
fn a_stop_shuts_each_ssd_of_a_controller_down_as_soon_as_its_own_requests_have_ended() {
    let machine = serving();
    let [_, slow, other] = &machine.ssds[..] else { panic!("there are three") };
    thread::scope(|scope| {
        scope.spawn(|| machine.read_lun("s", 0));
        until_busy(slow);
        let stopped = scope.spawn(|| machine.control.stop());
        Rig::until("the other is shut down", || other.account().shutdowns == 1);
        assert_eq!(slow.account().shutdowns, 0, "its request is still in flight");
        Rig::until("the SSD has answered", || {
            slow.step();
            stopped.is_finished()
        });
    });
    assert_eq!(slow.account().shutdowns, 1);
    assert_eq!(slow.account().queues_at_shutdown, 0);
}

//! Tests of disks that are deleted, or stopped, while their SSD does not answer.

use super::machine::Machine;
use luge_nvme::scripted::Rig;
use luge_rpc::Stage;
use serde_json::{Value, json};
use std::thread;

fn requests_in_flight(machine: &Machine, controller: &str) -> bool {
    let shown = machine.call("vhost_get_controllers", json!({ "name": controller })).unwrap();
    shown[0]["sessions"][0]["inflight_task_cnt"].as_u64() > Some(0)
}

/// A machine that serves its second and its third SSD.
fn serving() -> Machine {
    let machine = Machine::new();
    machine.dispatcher.enter(Stage::Runtime);
    for (name, address, controller) in [("b", "2:0.0", "on_b"), ("c", "3:0.0", "on_c")] {
        let params = json!({ "name": name, "trtype": "PCIe", "traddr": address });
        machine.call("bdev_nvme_attach_controller", params).unwrap();
        let params = json!({ "ctrlr": controller, "dev_name": format!("{name}n1") });
        machine.call("vhost_create_blk_controller", params).unwrap();
    }
    machine
}

#[test]
fn a_forced_delete_waits_for_its_own_ssd_and_holds_up_nobody_else() {
    let machine = serving();
    let slow = &machine.ssds[1];
    thread::scope(|scope| {
        let guest = scope.spawn(|| machine.read("on_b"));
        Rig::until("a request is in flight", || requests_in_flight(&machine, "on_b"));
        let force = json!({ "ctrlr": "on_b", "force": true });
        let deleted = scope.spawn(|| machine.call("vhost_delete_controller", force));
        assert!(guest.join().unwrap().is_err(), "the front end is cut off");
        machine.use_disk("on_c", &machine.ssds[2]);
        assert_eq!(machine.call("vhost_get_controllers", Value::Null).unwrap().as_array().unwrap().len(), 1);
        let again = json!({ "ctrlr": "on_b", "dev_name": "cn1" });
        assert_eq!(machine.call("vhost_create_blk_controller", again).unwrap_err().code.0, -17);
        assert!(!deleted.is_finished(), "its request is still in flight");
        Rig::until("the SSD has answered", || {
            slow.step();
            deleted.is_finished()
        });
        assert_eq!(deleted.join().unwrap().unwrap(), true);
    });
    assert_eq!(slow.account().executed, 1);
    assert_eq!(slow.dma_faults(), 0, "the guest's memory was there until the end");
    assert_eq!(slow.io_queues(), 0);
}

#[test]
fn a_stop_shuts_each_ssd_down_as_soon_as_its_own_requests_have_ended() {
    let machine = serving();
    let [_, slow, other] = &machine.ssds[..] else { panic!("there are three") };
    thread::scope(|scope| {
        scope.spawn(|| machine.read("on_b"));
        Rig::until("a request is in flight", || requests_in_flight(&machine, "on_b"));
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

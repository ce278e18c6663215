//! Tests of attach and detach, with scripted SSDs in place of VFIO's.

use super::attach::{Attach, attach, check};
use super::new_ssd::NewSsd;
use super::{detach, get, health, reset};
use crate::control::{Bdev, Control, Platform, Sled, Source, SsdAddress, User, control};
use luge_block::{Blocks, NullDevice, Shape};
use luge_nvme::scripted::{Rig, Script, ScriptedNamespace, ScriptedSsd};
use luge_nvme::{AsyncEvent, Controller, Options};
use luge_rpc::{Dispatcher, Method, RpcError, Stage};
use luge_volume::Volume;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

pub struct Bench {
    pub control: Arc<Control>,
    dispatcher: Dispatcher,
    /// Handles that each SSD had when it was given back.
    given_back: Arc<Mutex<Vec<usize>>>,
}

impl Bench {
    pub fn new() -> Self {
        Self::of(control())
    }

    /// The methods about SSDs on a sled.
    pub fn of(control: Arc<Control>) -> Self {
        let [detaching, listing, asking, resetting] = [(); 4].map(|()| control.clone());
        let now = &[Stage::Startup];
        let dispatcher = Dispatcher::new([
            Method::new("detach", "", now, move |params| detach::run(&detaching, params)),
            Method::new("list", "", now, move |params| get(&listing, params)),
            Method::new("health", "", now, move |params| health(&asking, params)),
            Method::new("reset", "", now, move |params| reset::run(&resetting, params)),
        ]);
        Self { control, dispatcher, given_back: Arc::default() }
    }

    pub fn attach(&self, name: &str, ssd: &Arc<ScriptedSsd>) -> Result<Vec<String>, RpcError> {
        self.attach_at("0000:01:00.0", name, ssd)
    }

    pub fn attach_at(&self, slot: &str, name: &str, ssd: &Arc<ScriptedSsd>) -> Result<Vec<String>, RpcError> {
        self.attach_with(json!({ "name": name, "trtype": "PCIe", "traddr": slot }), ssd)
    }

    pub fn attach_with(&self, params: Value, ssd: &Arc<ScriptedSsd>) -> Result<Vec<String>, RpcError> {
        let params: Attach = serde_json::from_value(params).unwrap();
        let address = check(&params)?;
        attach(&self.control, params, address, |platform| self.bring_up(platform, ssd))
    }

    fn bring_up(&self, platform: &Platform, ssd: &Arc<ScriptedSsd>) -> Result<NewSsd, RpcError> {
        // Nothing is reset for being slow.
        let options = Options { command_timeout: Duration::from_secs(600), ..Rig::options() };
        let started = Controller::start(ssd.function(), platform.space.clone(), options);
        let controller = started.map_err(RpcError::internal)?;
        let (handles, given_back) = (Arc::downgrade(ssd), self.given_back.clone());
        let give_back = move || {
            given_back.lock().unwrap().push(handles.strong_count());
            Ok(())
        };
        Ok(NewSsd::new(controller, Box::new(give_back)))
    }

    /// Number of SSDs that went back to their drivers, all of them closed.
    pub fn given_back(&self) -> usize {
        let handles = self.given_back.lock().unwrap();
        assert!(handles.iter().all(|&handles| handles == 1), "the test's own is left");
        handles.len()
    }

    pub fn ssd(&self, script: Script) -> Arc<ScriptedSsd> {
        ScriptedSsd::new(script, &self.control.platform().space)
    }

    pub fn call(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.dispatcher.dispatch(method, params)
    }

    /// Makes a null device.
    fn make(&self, name: &str) {
        let name = Some(name.to_owned());
        let put = move |sled: &mut Sled| {
            let (name, uuid) = sled.bdevs.reserve(name, "", None)?;
            let device = NullDevice::new(Shape::new(512, Blocks(8)).unwrap());
            sled.bdevs.put(&name, Bdev::new(uuid, Source::Null, Volume::whole(Arc::new(device))));
            Ok(())
        };
        self.control.ask(put).unwrap();
    }

    fn uuid(&self, name: &str) -> Uuid {
        let name = name.to_owned();
        self.control.ask(move |sled| Ok(sled.bdevs.get(&name)?.uuid)).unwrap()
    }

    fn uuids(&self) -> Vec<Uuid> {
        self.bdevs().iter().map(|name| self.uuid(name)).collect()
    }

    pub fn bdevs(&self) -> Vec<String> {
        self.control.ask(|sled| Ok(sled.bdevs.iter().map(|(name, _)| name.to_owned()).collect())).unwrap()
    }
}

pub fn two_namespaces() -> Script {
    let namespaces = vec![ScriptedNamespace::new(1, 9), ScriptedNamespace::new(3, 12)];
    Script { namespaces, ..Script::default() }
}

#[test]
fn namespaces_become_devices_and_go_with_their_ssd() {
    let bench = Bench::new();
    let ssd = bench.ssd(two_namespaces());
    assert_eq!(bench.attach("Nvme0", &ssd).unwrap(), ["Nvme0n1", "Nvme0n3"]);
    assert_eq!(bench.bdevs(), ["Nvme0n1", "Nvme0n3"]);
    assert_eq!(bench.given_back(), 0);
    let list = bench.call("list", Value::Null).unwrap();
    assert_eq!(list[0]["name"], "Nvme0");
    assert_eq!(list[0]["ctrlrs"][0]["state"], "enabled");
    assert_eq!(list[0]["ctrlrs"][0]["trid"], json!({ "trtype": "PCIe", "traddr": "0000:01:00.0" }));
    assert_eq!(
        bench.call("detach", json!({ "name": "Nvme0", "trtype": "pcie", "traddr": "1:0.0" })).unwrap(),
        true
    );
    assert_eq!(bench.bdevs().len(), 0);
    assert_eq!(ssd.account().shutdowns, 1);
    assert_eq!(bench.call("list", Value::Null).unwrap(), json!([]));
    assert!(bench.attach("Nvme0", &bench.ssd(two_namespaces())).is_ok());
}

/// Calls of Longhorn, OPI, simplyblock and SPDK's own client.
#[test]
fn orchestrators_attach_find_and_detach_an_ssd_on_pcie_in_their_ways() {
    let name = || json!({ "name": "ssd" });
    let opi = || json!({ "name": "ssd", "trtype": "PCIE", "traddr": "0000:01:00.0", "trsvcid": "0" });
    for (attach, detach) in [
        (
            json!({ "name": "ssd", "trtype": "pcie", "traddr": "0000:01:00.0", "multipath": "disable",
                "ctrlr_loss_timeout_sec": 30, "reconnect_delay_sec": 2, "fast_io_fail_timeout_sec": 15 }),
            name(),
        ),
        (opi(), opi()),
        (json!({ "name": "ssd", "trtype": "pcie", "traddr": "0000:01:00.0" }), name()),
        (json!({ "name": "ssd", "trtype": "PCIe", "traddr": "0000:01:00.0", "max_bdevs": 8 }), name()),
    ] {
        let bench = Bench::new();
        let ssd = bench.ssd(two_namespaces());
        assert_eq!(bench.attach_with(attach.clone(), &ssd).unwrap(), ["ssdn1", "ssdn3"], "{attach}");
        let listed = bench.call("list", Value::Null).unwrap();
        assert_eq!(listed[0]["ctrlrs"][0]["trid"]["traddr"], "0000:01:00.0");
        assert_eq!(bench.call("detach", detach).unwrap(), true);
        assert_eq!(ssd.account().shutdowns, 1);
    }
}

#[test]
fn time_outs_that_contradict_each_other_are_refused_before_the_ssd_is_touched() {
    let bench = Bench::new();
    let ssd = bench.ssd(two_namespaces());
    for (loss, delay, fail) in [(30, 31, 0), (30, 2, 31), (30, 0, 0), (0, 2, 0), (-2, 2, 0)] {
        let params = json!({ "name": "N", "trtype": "PCIe", "traddr": "1:0.0", "ctrlr_loss_timeout_sec": loss,
            "reconnect_delay_sec": delay, "fast_io_fail_timeout_sec": fail });
        assert_eq!(bench.attach_with(params, &ssd).unwrap_err().code.0, -22, "{loss} {delay} {fail}");
    }
    assert_eq!(bench.bdevs().len(), 0);
    assert_eq!(ssd.account().shutdowns, 0);
}

#[test]
fn an_ssd_that_does_not_come_up_leaves_nothing_behind() {
    let bench = Bench::new();
    assert!(bench.attach("Nvme0", &bench.ssd(Script { present: false, ..Script::default() })).is_err());
    assert_eq!(bench.call("list", Value::Null).unwrap(), json!([]));
    assert!(bench.attach("Nvme0", &bench.ssd(Script::default())).is_ok());
}

#[test]
fn an_ssd_whose_devices_would_have_a_name_that_is_taken_is_shut_down_again() {
    let bench = Bench::new();
    bench.control.ask(|sled| sled.bdevs.reserve(Some("Nvme0n3".into()), "", None)).unwrap();
    let ssd = bench.ssd(two_namespaces());
    assert_eq!(bench.attach("Nvme0", &ssd).unwrap_err().code.0, -17);
    assert_eq!(bench.bdevs().len(), 0);
    assert_eq!(ssd.account().shutdowns, 1);
    assert!(!ssd.is_bus_master());
    assert_eq!(bench.given_back(), 1);
    assert_eq!(bench.call("list", Value::Null).unwrap(), json!([]));
}

#[test]
fn an_ssd_with_more_namespaces_than_are_allowed_is_shut_down_again() {
    let bench = Bench::new();
    let params = |most: u32| json!({ "name": "N", "trtype": "PCIe", "traddr": "1:0.0", "max_bdevs": most });
    let ssd = bench.ssd(two_namespaces());
    let error = bench.attach_with(params(1), &ssd).unwrap_err();
    assert!(error.code.0 == -34 && error.message.contains("2 namespaces"), "{error}");
    assert_eq!(bench.bdevs().len(), 0);
    assert_eq!(ssd.account().shutdowns, 1);
    assert_eq!(bench.attach_with(params(2), &bench.ssd(two_namespaces())).unwrap().len(), 2);
}

#[test]
fn an_ssd_in_use_is_not_detached() {
    let bench = Bench::new();
    let ssd = bench.ssd(two_namespaces());
    bench.attach("Nvme0", &ssd).unwrap();
    bench.control.ask(|sled| sled.bdevs.claim("Nvme0n3", User::Endpoint("v".into()))).unwrap();
    let error = bench.call("detach", json!({ "name": "Nvme0" })).unwrap_err();
    assert!(error.code.0 == -16 && error.message.contains("Nvme0n3"), "{error}");
    assert_eq!(bench.bdevs().len(), 2);
    assert_eq!(ssd.account().shutdowns, 0);
    let other = bench.call("detach", json!({ "name": "Nvme0", "traddr": "0000:02:00.0" })).unwrap_err();
    assert_eq!(other.code.0, -19);
}

#[test]
fn two_ssds_that_claim_to_be_the_same_get_identities_of_their_own() {
    let bench = Bench::new();
    bench.attach("a", &bench.ssd(Script::default())).unwrap();
    let again = bench.attach("a", &bench.ssd(Script::default())).unwrap_err();
    assert_eq!(again.code.0, -17);
    bench.attach("b", &bench.ssd(Script::default())).unwrap();
    assert_eq!(bench.bdevs(), ["an1", "bn1"]);
}

#[test]
fn namespaces_of_one_ssd_that_claim_to_be_the_same_get_identities_of_their_own() {
    let bench = Bench::new();
    bench.attach("a", &bench.ssd(two_namespaces())).unwrap();
    let uuids = bench.uuids();
    assert_ne!(uuids[0], uuids[1]);
    for (name, uuid) in bench.bdevs().into_iter().zip(uuids) {
        let found = bench.control.ask(move |sled| sled.bdevs.resolve(&uuid.to_string())).unwrap();
        assert_eq!(found, name);
    }
}

#[test]
fn an_ssd_whose_identity_is_the_name_of_another_device_gets_one_of_its_own() {
    let bench = Bench::new();
    let claimed = Uuid::from_bytes([0x5a; 16]);
    bench.make(&claimed.to_string());
    bench.attach("a", &bench.ssd(Script::default())).unwrap();
    assert!(!bench.uuids().contains(&claimed));
    let found = bench.control.ask(move |sled| sled.bdevs.resolve(&claimed.to_string())).unwrap();
    assert_eq!(found, claimed.to_string());
}

#[test]
fn any_number_of_ssds_that_claim_to_be_the_same_are_told_apart() {
    let bench = Bench::new();
    for (slot, name) in [("1:0.0", "a"), ("2:0.0", "b"), ("3:0.0", "c"), ("4:0.0", "d")] {
        bench.attach_at(slot, name, &bench.ssd(two_namespaces())).unwrap();
    }
    let mut uuids = bench.uuids();
    uuids.sort();
    uuids.dedup();
    assert_eq!(uuids.len(), 8);
}

#[test]
fn an_ssd_that_says_who_it_is_by_its_serial_number_only_is_the_same_in_any_slot() {
    let [here, there] = ["0000:01:00.0", "0000:02:00.0"].map(|slot| {
        let bench = Bench::new();
        let taken = Uuid::from_bytes([0x5a; 16]);
        bench.make(&taken.to_string());
        bench.attach_at(slot, "a", &bench.ssd(Script::default())).unwrap();
        bench.uuid("an1")
    });
    assert_eq!(here, there);
}

#[test]
fn health_is_told_in_the_units_that_clients_expect() {
    let bench = Bench::new();
    bench.attach("Nvme0", &bench.ssd(Script::default())).unwrap();
    let health = bench.call("health", json!({ "name": "Nvme0" })).unwrap();
    assert_eq!(health["serial_number"], "LUGE-0001");
    assert_eq!(health["traddr"], "0000:01:00.0");
    assert!(health["temperature_celsius"].is_i64() && health["power_cycles"].is_u64(), "{health}");
}

#[test]
fn the_events_of_an_ssd_are_told_with_its_health() {
    let bench = Bench::new();
    let ssd = bench.ssd(Script::default());
    bench.attach("Nvme0", &ssd).unwrap();
    let events = || bench.call("health", json!({ "name": "Nvme0" })).unwrap()["asynchronous_events"].clone();
    assert_eq!(events(), json!([]));
    ssd.raise(AsyncEvent(0x02_01_01));
    Rig::until("the event", || events() != json!([]));
    assert_eq!(events(), json!(["temperature above or below a threshold (1/0x01, log page 0x02)"]));
}

#[test]
fn a_stop_shuts_every_ssd_down() {
    let bench = Bench::new();
    let ssds = ["a", "b"].map(|name| {
        let ssd = bench.ssd(Script::default());
        bench.attach(name, &ssd).unwrap();
        ssd
    });
    bench.control.stop();
    assert_eq!(ssds.map(|ssd| ssd.account().shutdowns), [1, 1]);
    assert!(bench.call("list", Value::Null).is_err());
}

#[test]
fn an_ssd_that_is_coming_up_while_luge_stops_is_shut_down_too() {
    let bench = Bench::new();
    let ssd = bench.ssd(Script::default());
    let stopping = bench.control.clone();
    let params = json!({ "name": "a", "trtype": "PCIe", "traddr": "0000:01:00.0" });
    let (started, go) = std::sync::mpsc::channel();
    let mut stopper = None;
    let made = attach(
        &bench.control,
        serde_json::from_value(params).unwrap(),
        SsdAddress::Pcie("0000:01:00.0".parse().unwrap()),
        |platform| {
            stopper = Some(std::thread::spawn(move || {
                started.send(()).unwrap();
                stopping.stop();
            }));
            go.recv().unwrap();
            bench.bring_up(platform, &ssd)
        },
    );
    stopper.unwrap().join().unwrap();
    assert!(made.is_ok());
    assert_eq!(ssd.account().shutdowns, 1);
}

#[test]
fn a_reset_reaches_the_ssd_and_nothing_else_changes() {
    let bench = Bench::new();
    let ssd = bench.ssd(two_namespaces());
    bench.attach("Nvme0", &ssd).unwrap();
    let cntlid = bench.call("list", Value::Null).unwrap()[0]["ctrlrs"][0]["cntlid"].clone();
    for params in [json!({ "name": "Nvme0" }), json!({ "name": "Nvme0", "cntlid": cntlid })] {
        assert_eq!(bench.call("reset", params).unwrap(), true);
    }
    assert_eq!(ssd.account().controller_resets, 2);
    assert_eq!(bench.call("list", Value::Null).unwrap()[0]["ctrlrs"][0]["state"], "enabled");
    assert_eq!(bench.bdevs(), ["Nvme0n1", "Nvme0n3"]);
}

#[test]
fn a_reset_of_what_is_not_there_is_no_device() {
    let bench = Bench::new();
    bench.attach("Nvme0", &bench.ssd(two_namespaces())).unwrap();
    for params in [json!({ "name": "Nvme1" }), json!({ "name": "Nvme0", "cntlid": 77 })] {
        let error = bench.call("reset", params).unwrap_err();
        assert_eq!(error.code.0, -19, "{error}");
    }
    assert_eq!(bench.call("reset", json!({ "name": "Nvme0", "cntlid": -1 })).unwrap_err().code.0, -32602);
}

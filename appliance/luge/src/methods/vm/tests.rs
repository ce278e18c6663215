//! Tests of VMs whose QEMU is a double, and of their saved configuration.

use super::{Create, One, Stop, create, delete, spec, start, stop};
use crate::config::Config;
use crate::control::{Budget, Call, Control, Platform, Sled, Subsystem, platform};
use crate::log::Log;
use crate::methods::{Host, dispatcher};
use luge_init::Reaper;
use luge_memory::PageSize;
use luge_rpc::{Dispatcher, RpcError, Stage};
use luge_vm::{MemoryPages, SandboxConfig, Timeouts, VmConfig, VmName, VmRunner, VmState, sandbox_refusal};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Script in place of QEMU. The VM powers off at once, crashes at once, or runs until its power
/// button, depending on its name.
const QEMU: &str = r#"#!/usr/bin/env python3
import json, os, re, socket, sys
words = " ".join(sys.argv)
if "-version" in words:
    print("QEMU emulator version 11.1.3 (a double)")
    sys.exit(0)
def connect(name):
    return socket.socket(fileno=int(re.search("id=%s,fd=([0-9]+)" % name, words).group(1)))
def off():
    say({"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}})
    os._exit(0)
qmp, serial = connect("qmp"), connect("serial")
say = lambda what: qmp.sendall((json.dumps(what) + "\r\n").encode())
say({"QMP": {"version": {}, "capabilities": []}})
for line in qmp.makefile():
    command = json.loads(line)["execute"]
    say({"return": {}})
    if command == "system_powerdown" or command == "cont" and "guest=powers-off" in words:
        off()
    if command == "quit":
        os._exit(0)
    if command == "cont" and "guest=crashes" in words:
        os._exit(3)
"#;

struct Rig {
    control: Arc<Control>,
    _folder: tempfile::TempDir,
}

impl Rig {
    /// A rig, unless this machine allows no sandbox.
    #[track_caller]
    fn new() -> Option<Self> {
        if let Some(refusal) = sandbox_refusal() {
            luge_skip::skip(&refusal);
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let qemu = folder.path().join("qemu");
        std::fs::write(&qemu, QEMU).unwrap();
        std::fs::set_permissions(&qemu, PermissionsExt::from_mode(0o755)).unwrap();
        let config = VmConfig {
            folder: folder.path().join("vm"),
            qemu: Some(qemu),
            firmware_folder: None,
            trial_kernel: None,
            sandbox: SandboxConfig::default(),
            timeouts: Timeouts::default(),
        };
        let vms = VmRunner::new(config, Reaper::of_own_children());
        let platform = Platform { vms, ..platform(PageSize::Base) };
        let control = Control::start(Sled::new(Arc::new(platform), Budget::new(64 << 20))).unwrap();
        Some(Self { control, _folder: folder })
    }

    fn create(&self, name: &str) {
        let params: Create = read(json!({ "name": name, "cpus": 1, "memory_mb": 64, "accelerator": "tcg" }));
        self.control.ask(move |sled| create(sled, &params)).unwrap();
    }

    fn start(&self, name: &str) {
        start(&self.control, read::<One>(json!({ "name": name }))).unwrap();
    }

    fn stop(&self, name: &str) -> Result<bool, RpcError> {
        stop(&self.control, read::<Stop>(json!({ "name": name })))
    }

    /// Defines and starts a VM, and waits until it is in a state.
    fn in_state(&self, name: &str, state: VmState) {
        self.create(name);
        self.start(name);
        self.wait_for(name, state);
    }

    fn wait_for(&self, name: &str, state: VmState) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let name = VmName::new(name).unwrap();
        while self.control.platform().vms.get(&name).unwrap().state != state {
            assert!(Instant::now() < deadline, "{name} is never {state}");
            std::thread::yield_now();
        }
    }

    /// All methods, as clients call them.
    fn dispatcher(&self) -> Arc<Dispatcher> {
        let (control, log) = (self.control.clone(), Arc::new(Log::to(std::io::sink)));
        let host = Host { control, log, config: Config::default(), loading: Mutex::default() };
        let dispatcher = dispatcher(&Arc::new(host));
        dispatcher.enter(Stage::Runtime);
        dispatcher
    }

    fn is_known(&self, name: &str) -> bool {
        self.control.platform().vms.get(&VmName::new(name).unwrap()).is_ok()
    }

    /// The methods that a saved configuration calls.
    fn saved(&self) -> Vec<String> {
        let methods = |calls: Vec<Call>| calls.into_iter().map(|call| call.method).collect();
        self.control.ask(move |sled| Ok(methods(sled.calls(Subsystem::Vm)))).unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.control.stop();
    }
}

fn read<T: DeserializeOwned>(params: Value) -> T {
    serde_json::from_value(params).unwrap()
}

#[test]
fn a_vm_that_runs_is_started_in_the_saved_configuration_until_it_is_stopped() {
    let Some(rig) = Rig::new() else { return };
    rig.in_state("runs", VmState::Running);
    assert_eq!(rig.saved(), ["vm_create", "vm_start"]);
    assert_eq!(rig.stop("runs"), Ok(true));
    assert_eq!(rig.saved(), ["vm_create"]);
    let again = rig.stop("runs").unwrap_err();
    assert!(again.code.0 == -16 && again.message.contains("nothing to stop"), "{again}");
}

#[test]
fn the_configuration_of_a_sled_whose_vm_runs_is_loaded_again() {
    let Some(rig) = Rig::new() else { return };
    let luge = rig.dispatcher();
    rig.in_state("runs", VmState::Running);
    let config = luge.dispatch("save_config", json!({})).unwrap();
    rig.stop("runs").unwrap();
    rig.control.ask(|sled| delete(sled, "runs")).unwrap();
    assert_eq!(luge.dispatch("load_config", config.clone()), Ok(json!(true)));
    rig.wait_for("runs", VmState::Running);
    assert_eq!(luge.dispatch("save_config", json!({})), Ok(config));
}

#[test]
fn a_vm_that_a_configuration_has_started_is_ended_where_a_later_call_fails() {
    let Some(rig) = Rig::new() else { return };
    let make = json!({"method": "vm_create", "params":
        {"name": "runs", "cpus": 1, "memory_mb": 64, "accelerator": "tcg"}});
    let start = json!({"method": "vm_start", "params": {"name": "runs"}});
    let config = json!({"subsystems": [{"subsystem": "vm", "config": [make, start, make]}]});
    let error = rig.dispatcher().dispatch("load_config", config).unwrap_err();
    assert_eq!(error.code.0, -17, "{error}");
    assert!(error.message.starts_with("subsystem vm, entry 2 (vm_create): "), "{error}");
    assert!(!error.message.contains(" failed: "), "what was made is unmade: {error}");
    assert!(!rig.is_known("runs"));
    assert!(rig.saved().is_empty());
}

#[test]
fn a_vm_that_powered_itself_off_is_not_started_in_the_saved_configuration() {
    let Some(rig) = Rig::new() else { return };
    rig.in_state("powers-off", VmState::Stopped);
    assert_eq!(rig.saved(), ["vm_create"]);
    assert_eq!(rig.stop("powers-off"), Ok(true));
    assert_eq!(rig.saved(), ["vm_create"]);
    assert_eq!(rig.stop("powers-off").unwrap_err().code.0, -16);
    rig.start("powers-off");
    rig.wait_for("powers-off", VmState::Stopped);
    assert_eq!(rig.saved(), ["vm_create"]);
}

#[test]
fn a_vm_that_crashed_stays_started_until_somebody_stops_it() {
    let Some(rig) = Rig::new() else { return };
    rig.in_state("crashes", VmState::Crashed);
    assert_eq!(rig.saved(), ["vm_create", "vm_start"]);
    assert_eq!(rig.stop("crashes"), Ok(true));
    assert_eq!(rig.saved(), ["vm_create"]);
    assert_eq!(rig.stop("crashes").unwrap_err().code.0, -16);
}

#[test]
fn a_vm_that_was_never_started_cannot_be_stopped() {
    let Some(rig) = Rig::new() else { return };
    rig.create("new");
    assert_eq!(rig.stop("new").unwrap_err().code.0, -16);
    assert_eq!(rig.stop("absent").unwrap_err().code.0, -19);
    assert_eq!(rig.saved(), ["vm_create"]);
}

#[test]
fn a_vm_that_ended_is_forgotten_with_its_start() {
    let Some(rig) = Rig::new() else { return };
    for (name, state) in [("powers-off", VmState::Stopped), ("crashes", VmState::Crashed)] {
        rig.in_state(name, state);
        rig.control.ask(move |sled| delete(sled, name)).unwrap();
        assert!(rig.saved().is_empty());
    }
}

/// Pages of a VM's memory, given Luge's own `pages`.
fn pages_of_a_vm(pages: PageSize) -> MemoryPages {
    let sled = Sled::new(Arc::new(platform(pages)), Budget::new(64 << 20));
    spec(&sled, &read(json!({ "name": "one", "cpus": 1, "memory_mb": 64 }))).unwrap().memory
}

#[test]
fn a_vm_has_hugepages_where_the_sled_has() {
    assert_eq!(pages_of_a_vm(PageSize::Huge2MiB), MemoryPages::Huge);
    assert_eq!(pages_of_a_vm(PageSize::Huge1GiB), MemoryPages::Huge);
    assert_eq!(pages_of_a_vm(PageSize::Base), MemoryPages::Base);
}

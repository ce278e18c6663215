//! Tests of SSDs that hang while they come up or shut down: each holds up its own call and no other.

use super::tests::{Bench, two_namespaces};
use luge_nvme::scripted::{Enabling, Rig, Script, ScriptedSsd};
use serde_json::{Value, json};
use std::sync::Arc;
use std::thread;

/// The longest CAP.TO: two minutes.
const LONGEST: u8 = 255;

/// An SSD that never confirms a shutdown, until it is pulled.
fn slow_to_shut_down(bench: &Bench) -> Arc<ScriptedSsd> {
    bench.ssd(Script { shutdown_works: false, ..two_namespaces() })
}

/// Pulls an SSD out of its slot, which ends all waits for it.
fn pull(ssd: &ScriptedSsd) {
    ssd.script(|script| script.present = false);
}

/// Waits until the SSD has been asked to shut down.
fn until_shutting_down(ssd: &ScriptedSsd) {
    Rig::until("its shutdown begins", || ssd.account().shutdowns == 1);
}

/// Makes calls of several kinds, while `ssd` hangs.
fn use_others(bench: &Bench, ssd: &ScriptedSsd) {
    let other = bench.ssd(Script::default());
    assert_eq!(bench.attach("Other", &other).unwrap(), ["Othern1"]);
    assert!(bench.call("list", Value::Null).unwrap().to_string().contains("Other"));
    assert_eq!(bench.call("detach", json!({ "name": "Other" })).unwrap(), true);
    assert!(ssd.is_bus_master(), "the other calls were answered before its own");
}

#[test]
fn an_ssd_that_is_refused_and_hangs_at_its_shutdown_delays_no_other_call() {
    let bench = Bench::new();
    bench.control.ask(|sled| sled.bdevs.reserve(Some("an3".into()), "", None)).unwrap();
    let ssd = slow_to_shut_down(&bench);
    thread::scope(|scope| {
        let refused = scope.spawn(|| bench.attach("a", &ssd));
        until_shutting_down(&ssd);
        use_others(&bench, &ssd);
        let taken = bench.attach("a", &bench.ssd(Script::default())).unwrap_err();
        assert_eq!(taken.code.0, -17, "its name is free only when it is gone");
        assert_eq!(bench.given_back(), 0, "it goes back to its driver only when it is shut down");
        pull(&ssd);
        assert_eq!(refused.join().unwrap().unwrap_err().code.0, -17);
    });
    assert_eq!(bench.given_back(), 1);
    assert_eq!(bench.attach("a", &bench.ssd(Script::default())).unwrap(), ["an1"]);
}

#[test]
fn an_ssd_that_hangs_at_its_detach_delays_no_other_call() {
    let bench = Bench::new();
    let ssd = slow_to_shut_down(&bench);
    bench.attach("a", &ssd).unwrap();
    thread::scope(|scope| {
        let detached = scope.spawn(|| bench.call("detach", json!({ "name": "a" })));
        until_shutting_down(&ssd);
        use_others(&bench, &ssd);
        pull(&ssd);
        assert_eq!(detached.join().unwrap().unwrap(), true);
    });
}

#[test]
fn an_ssd_that_hangs_while_it_comes_up_delays_no_other_call() {
    let bench = Bench::new();
    let script = Script { enabling: Enabling::Never, timeout_500ms: LONGEST, ..Script::default() };
    let ssd = bench.ssd(script);
    thread::scope(|scope| {
        let refused = scope.spawn(|| bench.attach("a", &ssd));
        Rig::until("its bring-up begins", || ssd.is_bus_master());
        use_others(&bench, &ssd);
        assert_eq!(bench.attach("a", &bench.ssd(Script::default())).unwrap_err().code.0, -17);
        pull(&ssd);
        assert!(refused.join().unwrap().is_err());
    });
    assert_eq!(bench.attach("a", &bench.ssd(Script::default())).unwrap(), ["an1"]);
}

#[test]
fn an_ssd_that_hangs_while_a_configuration_is_undone_delays_no_other_call() {
    let bench = Bench::new();
    let ssd = slow_to_shut_down(&bench);
    bench.attach("a", &ssd).unwrap();
    thread::scope(|scope| {
        let cleared = scope.spawn(|| bench.control.clear());
        until_shutting_down(&ssd);
        use_others(&bench, &ssd);
        assert_eq!(bench.attach("a", &bench.ssd(Script::default())).unwrap_err().code.0, -17);
        pull(&ssd);
        cleared.join().unwrap().unwrap();
    });
    assert_eq!(bench.bdevs().len(), 0);
    assert_eq!(bench.attach("a", &bench.ssd(Script::default())).unwrap(), ["an1"]);
}

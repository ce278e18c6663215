//! Faults between the driver and the target, drawn by seeds.

use super::world::{Host, Target, until};
use luge_nvme::ControllerState;
use luge_nvme::doubles::{Fault, Faults, VerifiedLoad};
use luge_seeded::Random;
use std::time::Duration;

/// Time limit of a command, after which the driver resets its controller.
const TIMEOUT: Duration = Duration::from_millis(100);

/// Ends the faults; asserts that all requests end, and that more succeed unless the controller was given up.
fn recovers(host: &Host, load: &mut VerifiedLoad) {
    host.control.end();
    until("all requests have ended", || load.drain() == 0);
    let before = load.tally();
    until("it serves on, or is given up", || {
        load.turn();
        load.tally().good > before.good + 50 || host.controller.state() == ControllerState::Gone
    });
    until("all requests have ended", || load.drain() == 0);
}

/// Asserts that a kind of fault ends no request wrongly.
fn survives(fault: Fault, one_in: u32) {
    let target = Target::new();
    let host = Host::with(&target, Faults::new(0), TIMEOUT).unwrap();
    let mut load = host.load(0, 1);
    host.control.set(Faults::new(fault as u64).with(fault, one_in));
    until("the fault was injected", || {
        load.turn();
        host.control.injected(fault) > 0 && load.tally().good > 50
    });
    recovers(&host, &mut load);
}

#[test]
fn doorbells_that_are_lost_or_late_lose_no_request() {
    survives(Fault::DoorbellDropped, 20);
    survives(Fault::DoorbellLate, 5);
}

#[test]
fn completions_that_are_lost_late_doubled_or_wrong_end_no_request_wrongly() {
    survives(Fault::CompletionDropped, 40);
    survives(Fault::CompletionLate, 5);
    survives(Fault::CompletionTwice, 40);
    survives(Fault::WrongIdentifier, 40);
}

#[test]
fn a_controller_that_reports_a_fatal_error_is_reset_under_load_again_and_again() {
    let target = Target::new();
    let host = Host::with(&target, Faults::new(0), Duration::from_secs(60)).unwrap();
    let mut load = host.load(0, 1);
    for _ in 0..5 {
        let stops = host.control.stops();
        host.control.fail();
        until("it was reset", || {
            load.turn();
            host.control.stops() > stops
        });
        let before = load.tally();
        until("it serves on", || {
            load.turn();
            load.tally().good > before.good + 50
        });
    }
    recovers(&host, &mut load);
    assert_eq!(host.controller.state(), ControllerState::Live);
}

#[test]
fn a_function_reset_under_load_ends_no_request_wrongly() {
    for seed in 0..3 {
        let target = Target::new();
        let host = Host::with(&target, Faults::new(0), TIMEOUT).unwrap();
        let mut load = host.load(0, seed);
        // A disable that is lost makes the driver reset the function.
        let faults = Faults::new(seed).with(Fault::Fatal, 2).with(Fault::WriteDropped, 2);
        host.control.set(faults.with(Fault::ResetTorn, 3));
        until("a reset", || {
            load.turn();
            host.control.injected(Fault::WriteDropped) > 1 || host.controller.state() != ControllerState::Live
        });
        recovers(&host, &mut load);
    }
}

/// Kinds of faults of a case, each with a rate.
fn any_faults(random: &mut Random) -> Faults {
    let kinds = random.between(1_usize, 4);
    (0..kinds).fold(Faults::new(random.number()), |faults, _| {
        faults.with(random.pick(&Fault::ALL), random.between(4_u32, 60))
    })
}

#[test]
fn whatever_goes_wrong_every_request_ends_once_and_the_next_driver_finds_a_target_that_works() {
    luge_seeded::fuzz(|random| {
        let target = Target::new();
        if let Ok(host) = Host::with(&target, any_faults(random), TIMEOUT) {
            host.control.end();
            if host.controller.state() == ControllerState::Live {
                let mut load = host.load(0, random.number());
                host.control.set(any_faults(random));
                for _ in 0..random.between(50_u32, 300) {
                    load.turn();
                    std::thread::sleep(Duration::from_micros(50));
                }
                recovers(&host, &mut load);
            }
        }
        let host = Host::new(&target);
        let mut load = host.load(0, random.number());
        until("the next driver works", || {
            load.turn();
            load.tally().good > 50
        });
        until("all requests have ended", || load.drain() == 0);
        assert_eq!(load.tally().aborted, 0, "nothing of the driver before it is left");
    });
}

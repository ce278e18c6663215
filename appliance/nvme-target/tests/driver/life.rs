//! Drivers that come and go, and a target that ends, with requests in flight.

use super::world::{Host, Target, until};
use luge_nvme::ControllerState;

#[test]
fn one_driver_after_the_other_has_the_target_and_finds_the_same_data() {
    let target = Target::new();
    for seed in 0..3 {
        let host = Host::new(&target);
        let mut load = host.load(0, seed);
        until("some requests", || {
            load.turn();
            load.tally().good > 100
        });
    }
    until("the last has left", || target.subsystem.controllers().is_empty());
}

#[test]
fn a_target_that_ends_ends_all_requests_of_its_driver() {
    let mut target = Target::new();
    let host = Host::new(&target);
    let mut load = host.load(0, 1);
    until("some requests", || {
        load.turn();
        load.tally().good > 100
    });
    target.stop();
    until("the driver has noticed, and all requests have ended", || {
        load.turn();
        host.controller.state() == ControllerState::Gone && load.drain() == 0
    });
    assert!(host.controller.smart().is_err());
    drop(load);
    host.controller.shutdown().unwrap();
}

#[test]
fn two_targets_serve_one_driver_each_on_its_own() {
    let targets = [Target::new(), Target::new()];
    let hosts = [Host::new(&targets[0]), Host::new(&targets[1])];
    let mut loads = [hosts[0].load(0, 1), hosts[1].load(0, 2)];
    until("both work", || {
        loads.iter_mut().for_each(|load| load.turn());
        loads.iter().all(|load| load.tally().good > 500)
    });
    until("all requests have ended", || loads.iter_mut().map(|load| load.drain()).sum::<usize>() == 0);
}

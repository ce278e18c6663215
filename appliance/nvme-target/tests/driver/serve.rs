//! Bring-up and I/O.

use super::world::{BLOCKS, Host, Target, until};
use luge_block::Device;
use luge_block::doubles::check_device;
use luge_nvme::ControllerState;

#[test]
fn the_driver_finds_what_the_target_has() {
    let target = Target::new();
    let host = Host::new(&target);
    assert_eq!(host.controller.identity().serial, "LUGE-TARGET");
    assert_eq!(host.controller.identity().model, "Luge");
    let namespaces = host.controller.namespaces();
    assert_eq!(namespaces.iter().map(|namespace| namespace.id().0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(namespaces[0].geometry().blocks.0, BLOCKS);
    assert_eq!(namespaces[0].geometry().block_bytes, 512);
    assert_eq!(namespaces[1].nguid(), Some([18; 16]));
    assert!(host.controller.refused().is_empty());
    assert_eq!(host.controller.queue_pairs(), 4);
    assert_eq!(host.controller.smart().unwrap().critical_warning, 0);
}

#[test]
fn a_namespace_of_the_target_is_a_block_device_as_the_contract_says() {
    let target = Target::new();
    let host = Host::new(&target);
    for seed in 0..2 {
        check_device(seed, &*host.controller.namespaces()[0], &host.space);
    }
    assert_eq!(host.controller.state(), ControllerState::Live);
}

#[test]
fn cores_read_what_they_wrote_each_by_its_own_queue_pair() {
    let target = Target::new();
    let host = Host::new(&target);
    let mut loads = [0, 1, 2].map(|core| host.load(core, core.into()));
    until("all have read and written", || {
        loads.iter_mut().for_each(|load| load.turn());
        loads.iter().all(|load| load.tally().good > 2000)
    });
    until("all requests have ended", || loads.iter_mut().map(|load| load.drain()).sum::<usize>() == 0);
    assert!(loads.iter().all(|load| load.tally().aborted == 0));
    assert_eq!(host.controller.state(), ControllerState::Live);
}

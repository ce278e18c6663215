//! Resets of a unit, and what becomes of its mode parameters.

use super::rig::{Host, World};
use luge_block::Durability;
use luge_scsi::SenseFormat;
use luge_spec::scsi::AdditionalSense;
use std::sync::Arc;

/// Switches the write cache off, and descriptor format on.
fn change_parameters(host: &Host) {
    let caching = [0, 0, 0, 0, 0x08, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let control = [0, 0, 0, 0, 0x0a, 0x0a, 0x24, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];
    for list in [&caching[..], &control] {
        let cdb = [0x15, 0x10, 0, 0, u8::try_from(list.len()).unwrap(), 0];
        drop(host.begin(&cdb, list));
        host.owner.receipts.lock().unwrap().clear();
    }
}

/// Whether the parameters have their default values.
fn are_default(world: &World) -> bool {
    let view = world.unit.view();
    view.least_durability == Durability::Cache && view.sense_format == SenseFormat::Fixed
}

#[test]
fn a_reset_brings_the_default_parameters_back_and_is_over_when_all_cores_obey() {
    let world = World::new();
    let (host, other) = (world.host("a"), world.host("b"));
    change_parameters(&host);
    other.owner.receipts.lock().unwrap().clear();
    assert!(!are_default(&world));
    let change = host.nexus.reset();
    assert!(are_default(&world));
    host.owner.receipts.lock().unwrap().clear();
    other.owner.resets.lock().unwrap().clear();
    assert!(!change.is_over(), "the cores of the other have the old view");
    other.owner.receipts.lock().unwrap().clear();
    assert!(change.is_over());
    for host in [&host, &other] {
        assert_eq!(host.attentions(), [AdditionalSense::BUS_DEVICE_RESET_FUNCTION]);
    }
}

#[test]
fn a_reset_is_over_when_the_commands_of_the_others_have_ended() {
    let world = World::new();
    let hosts = ["a", "b", "c"].map(|name| world.host(name));
    let change = hosts[0].nexus.reset();
    assert!(hosts[0].owner.resets.lock().unwrap().is_empty(), "its own commands are its own business");
    for host in &hosts[1..] {
        assert!(!change.is_over());
        let resets = std::mem::take(&mut *host.owner.resets.lock().unwrap());
        assert_eq!(resets.len(), 1);
        assert_eq!(resets[0].target, 0);
        assert!(Arc::ptr_eq(&resets[0].gate, host.nexus.gate()));
    }
    assert!(change.is_over());
}

#[test]
fn a_guest_that_begins_anew_finds_default_parameters_where_nobody_else_uses_them() {
    let world = World::new();
    let host = world.host("a");
    change_parameters(&host);
    host.nexus.powered_on();
    assert!(are_default(&world));
    assert_eq!(host.owner.receipts.lock().unwrap().len(), 1, "the cores are to get them");
    assert_eq!(host.attentions(), [AdditionalSense::POWER_ON_OR_RESET]);
    let other = world.host("b");
    change_parameters(&host);
    other.nexus.powered_on();
    assert!(!are_default(&world), "those that the first one has chosen");
}

#[test]
fn the_loss_of_a_nexus_leaves_parameters_alone() {
    let world = World::new();
    let host = world.host("a");
    change_parameters(&host);
    host.nexus.lost();
    assert!(!are_default(&world));
}

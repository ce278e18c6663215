//! SCSI and NVMe on one state.

use super::persistent::{keys, list, pr_in, pr_out, register, reserve};
use super::rig::{READ_10, World, be16, be64};
use luge_reservations::{
    Action, Claim, Identity, Key, Listener, Nexus, NexusConfig, Notice, Port, Refused, ReservationType,
    Reservations, Rights, Scope,
};
use luge_scsi::{LogicalUnit, UnitConfig};
use luge_spec::scsi::AdditionalSense;
use std::sync::{Arc, Mutex};

/// Controller of an NVMe host, which keeps what it is told.
#[derive(Default)]
struct Notices(Mutex<Vec<Notice>>);

impl Listener for Notices {
    fn notify(&self, notice: Notice) {
        self.0.lock().unwrap().push(notice);
    }
}

/// An NVMe host on the volume of a world.
fn nvme(world: &World, host: u128) -> (Nexus, Arc<Notices>) {
    let listener = Arc::<Notices>::default();
    let port = Port { target: 1, number: 4 };
    let config = NexusConfig { identity: Some(Identity::nvme(host)), port, listener: listener.clone() };
    (Nexus::new(world.unit.volume().reservations(), config), listener)
}

const NVME_REGISTER: Action = Action::Register { claim: Claim::UnregisteredOrNew, key: Some(Key(9)) };

#[test]
fn a_registration_made_through_one_protocol_is_seen_through_the_other() {
    let world = World::new();
    let host = world.host("a");
    let (controller, _) = nvme(&world, 5);
    controller.act(NVME_REGISTER).unwrap();
    register(&host, 0, 7);
    assert_eq!(keys(&host), [9, 7]);
    let seen: Vec<Key> = controller.report().registrants.iter().map(|one| one.key).collect();
    assert_eq!(seen, [Key(9), Key(7)]);
}

#[test]
fn a_reservation_of_one_protocol_excludes_the_other() {
    let world = World::new();
    let host = world.host("a");
    let (controller, _) = nvme(&world, 5);
    controller.act(NVME_REGISTER).unwrap();
    controller.act(Action::Acquire { key: Key(9), kind: ReservationType::ExclusiveAccess }).unwrap();
    assert!(host.conflicts(&READ_10, &[]));
    let held = host.data(&pr_in(1, 255));
    assert_eq!([be64(&held, 8), held[21].into()], [9, 3]);
    controller.act(Action::Clear { key: Key(9) }).unwrap();
    assert!(!host.conflicts(&READ_10, &[]));
    register(&host, 0, 7);
    reserve(&host, 7, 1);
    assert_eq!(controller.rights(), Rights::Read);
}

#[test]
fn each_is_told_what_the_other_did() {
    let world = World::new();
    let host = world.host("a");
    let (controller, notices) = nvme(&world, 5);
    controller.act(NVME_REGISTER).unwrap();
    register(&host, 0, 7);
    host.good(&pr_out(4, 1), &list(7, 9));
    assert_eq!(*notices.0.lock().unwrap(), [Notice::RegistrationPreempted]);
    controller.act(NVME_REGISTER).unwrap();
    controller.act(Action::Clear { key: Key(9) }).unwrap();
    assert_eq!(host.attentions(), [AdditionalSense::RESERVATIONS_PREEMPTED]);
}

#[test]
fn reserve_excludes_hosts_of_nvme() {
    let world = World::new();
    let host = world.host("a");
    let (controller, _) = nvme(&world, 5);
    host.good(&[0x16, 0, 0, 0, 0, 0], &[]);
    assert_eq!(controller.rights(), Rights::None);
    assert_eq!(controller.act(NVME_REGISTER), Err(Refused::Conflict));
    host.good(&[0x17, 0, 0, 0, 0, 0], &[]);
    assert_eq!(controller.rights(), Rights::ReadWrite);
}

#[test]
fn a_host_of_nvme_is_registered_at_all_ports() {
    let world = World::new();
    let host = world.host("a");
    let (controller, _) = nvme(&world, 5);
    controller.act(NVME_REGISTER).unwrap();
    let status = host.data(&pr_in(3, 255));
    assert_eq!(status[8 + 12], 2, "ALL_TG_PT");
    assert_eq!(be16(&status, 8 + 18), 0);
}

#[test]
fn a_host_of_nvme_without_a_name_has_no_port_of_a_target() {
    let world = World::new();
    let host = world.host("a");
    let (controller, _) = nvme(&world, 0);
    controller.identify(Some(Identity { host: 0, scope: Scope::Nexus(3) }));
    controller.act(NVME_REGISTER).unwrap();
    assert_eq!(be16(&host.data(&pr_in(3, 255)), 8 + 18), 0, "and not its controller identifier");
}

#[test]
fn units_with_reservations_of_their_own_do_not_exclude_each_other() {
    let world = World::new();
    let names = super::rig::config(world.unit.volume().clone());
    let reservations = Arc::<Reservations>::default();
    let tenants =
        World { unit: LogicalUnit::new(UnitConfig { reservations, ..names }).unwrap(), ..World::new() };
    let (host, tenant) = (world.host("a"), tenants.host("b"));
    register(&host, 0, 7);
    reserve(&host, 7, 3);
    assert!(!tenant.conflicts(&READ_10, &[]));
    assert_eq!(keys(&tenant), [0_u64; 0]);
    assert_eq!(world.unit.naa(), tenants.unit.naa(), "one volume is one unit to all");
}

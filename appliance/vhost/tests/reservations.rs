//! Guests of a disk that somebody else has reserved through another endpoint: a conflict ends with IOERR.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_reservations::{
    Action, Claim, Identity, Key, Listener, Nexus, NexusConfig, Notice, Port, ReservationType, Reservations,
    Rights,
};
use luge_spec::virtio::Features;
use luge_spec::virtio::blk::RequestType;
use luge_vhost::{Access, BlkConfig};
use luge_volume::Volume;
use rig::Ask;
use rig::client::{Guest, GuestRing, until};
use rig::house::House;
use std::sync::Arc;

const OK: u8 = 0;
const IOERR: u8 = 1;

struct Deaf;

impl Listener for Deaf {
    fn notify(&self, _notice: Notice) {}
}

fn holder(volume: &Volume) -> Nexus {
    holder_of(volume.reservations())
}

fn holder_of(reservations: &Arc<Reservations>) -> Nexus {
    let port = Port { target: 0, number: 1 };
    let config = NexusConfig { identity: Some(Identity::nvme(1)), port, listener: Arc::new(Deaf) };
    let nexus = Nexus::new(reservations, config);
    nexus.act(Action::Register { claim: Claim::Unregistered, key: Some(Key(1)) }).unwrap();
    nexus
}

/// Two endpoints of one volume, one of which is read-only, and a holder beside them.
struct Shared {
    house: House,
    holder: Nexus,
}

impl Shared {
    fn new() -> Self {
        let mut house = House::on(&[]);
        let volume = Arc::new(Volume::whole(House::disk()));
        for (index, access) in [(0, Access::ReadWrite), (1, Access::ReadOnly)] {
            let disk = BlkConfig { volume: volume.clone(), access, ..house.disk_config(House::disk()) };
            house.serve(index, disk);
        }
        Self { house, holder: holder(&volume) }
    }

    fn reserve(&self, kind: ReservationType) {
        self.holder.act(Action::Acquire { key: Key(1), kind }).unwrap();
    }

    fn release(&self, kind: ReservationType) {
        self.holder.act(Action::Release { key: Key(1), kind }).unwrap();
    }
}

/// Statuses of a read, a scattered and a long one among them, and of each request that writes.
fn ask_all(ring: &mut GuestRing) -> (Vec<u8>, Vec<u8>) {
    let reads = [Ask::read(0, 512), Ask::read(8, 64 << 10)];
    let writes = [
        Ask::write(0, &[1; 512]),
        Ask::write(8, &vec![1; 64 << 10]),
        Ask::flush(),
        Ask::ranges(RequestType::DISCARD, &[(0, 8, 0)]),
        Ask::ranges(RequestType::WRITE_ZEROES, &[(0, 8, 0), (8, 8, 1)]),
    ];
    (
        reads.iter().map(|ask| ring.ask(ask).status).collect(),
        writes.iter().map(|ask| ring.ask(ask).status).collect(),
    )
}

fn guest(shared: &Shared, index: usize) -> (Guest, rig::client::Client) {
    let mut guest = Guest::new(2);
    if index == 0 {
        guest.features = guest.features | Features::BLK_DISCARD | Features::BLK_WRITE_ZEROES;
    }
    let client = guest.connect(&shared.house.path(index));
    (guest, client)
}

#[test]
fn what_a_reservation_forbids_ends_with_an_error_on_each_ring_and_the_rest_is_served() {
    let shared = Shared::new();
    let (mut guest, _client) = guest(&shared, 0);
    for kind in ReservationType::ALL {
        shared.reserve(kind);
        let reads = match kind.rights(luge_reservations::Role::Stranger) {
            Rights::None => IOERR,
            Rights::Read | Rights::ReadWrite => OK,
        };
        for ring in &mut guest.rings {
            let (read, written) = ask_all(ring);
            assert!(read.iter().all(|&status| status == reads), "{kind:?}: {read:?}");
            assert!(written.iter().all(|&status| status == IOERR), "{kind:?}: {written:?}");
            assert_eq!(ring.ask(&Ask::get_id(20)).status, OK, "the name of a disk is not reserved");
        }
        shared.release(kind);
        for ring in &mut guest.rings {
            let (read, written) = ask_all(ring);
            assert!(read.iter().chain(&written).all(|&status| status == OK), "{read:?} {written:?}");
        }
    }
}

#[test]
fn a_refused_write_changes_nothing_and_a_refused_read_shows_nothing() {
    let shared = Shared::new();
    let (mut guest, _client) = guest(&shared, 0);
    let ring = &mut guest.rings[0];
    assert_eq!(ring.ask(&Ask::write(0, &[7; 512])).status, OK);
    shared.reserve(ReservationType::ExclusiveAccess);
    assert_eq!(ring.ask(&Ask::write(0, &[8; 512])).status, IOERR);
    let read = ring.ask(&Ask::read(0, 512));
    assert_eq!(read.status, IOERR);
    assert_eq!(read.data, [rig::UNANSWERED; 512]);
    shared.release(ReservationType::ExclusiveAccess);
    assert_eq!(ring.ask(&Ask::read(0, 512)).data, [7; 512]);
}

#[test]
fn a_read_only_endpoint_of_the_volume_is_bound_as_well() {
    let shared = Shared::new();
    let (mut guest, _client) = guest(&shared, 1);
    let ring = &mut guest.rings[1];
    assert_eq!(ring.ask(&Ask::read(0, 512)).status, OK);
    shared.reserve(ReservationType::ExclusiveAccessRegistrantsOnly);
    assert_eq!(ring.ask(&Ask::read(0, 512)).status, IOERR);
}

#[test]
fn a_guest_that_connects_again_finds_the_volume_reserved() {
    let shared = Shared::new();
    shared.reserve(ReservationType::WriteExclusive);
    for _ in 0..3 {
        let (mut guest, client) = guest(&shared, 0);
        assert_eq!(guest.rings[0].ask(&Ask::write(0, &[1; 512])).status, IOERR);
        drop(client);
    }
}

#[test]
fn refused_requests_of_a_full_ring_do_not_keep_it_from_being_served() {
    let shared = Shared::new();
    let (mut guest, _client) = guest(&shared, 0);
    shared.reserve(ReservationType::ExclusiveAccess);
    let ring = &mut guest.rings[0];
    for _ in 0..20 {
        let sent: Vec<_> = (0..16).map(|at| ring.send(&Ask::read(at * 8, 512))).collect();
        let mut used = 0;
        until(|| {
            used += usize::from(ring.queue.driver.take_used().is_some());
            used == sent.len()
        });
    }
    shared.release(ReservationType::ExclusiveAccess);
    assert_eq!(ring.ask(&Ask::read(0, 512)).status, OK);
}

#[test]
fn a_disk_of_a_tenant_obeys_the_reservations_of_its_tenant_only() {
    let mut house = House::on(&[]);
    let (volume, of_tenant) = (Volume::whole(House::disk()), Arc::<Reservations>::default());
    let everybody = holder(&volume);
    let tenant = holder_of(&of_tenant);
    let view = Arc::new(volume.view(of_tenant));
    house.serve(0, BlkConfig { volume: view, ..house.disk_config(House::disk()) });
    let mut guest = Guest::new(1);
    let _client = guest.connect(&house.path(0));
    let ring = &mut guest.rings[0];
    let kind = ReservationType::ExclusiveAccess;
    everybody.act(Action::Acquire { key: Key(1), kind }).unwrap();
    assert_eq!(ring.ask(&Ask::read(0, 512)).status, OK);
    tenant.act(Action::Acquire { key: Key(1), kind }).unwrap();
    until(|| ring.ask(&Ask::read(0, 512)).status == IOERR);
    tenant.act(Action::Release { key: Key(1), kind }).unwrap();
    until(|| ring.ask(&Ask::read(0, 512)).status == OK);
}

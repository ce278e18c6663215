//! Memory of a guest that comes, goes, or is no memory: a region of a file on a disk keeps whoever
//! touches it waiting, so nothing of it is touched, and all else is served.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_memory::{GuestAddress, RegionLayout};
use luge_spec::virtio::blk::{RequestHeader, RequestType};
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use rig::client::{Client, Guest, Message, code, signal, until};
use rig::house::{House, use_disk};
use rig::scripted::{IOERR, OK};
use rig::{Ask, UNANSWERED};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Where a guest has its other region, and how long that is in bytes.
const OTHER: u64 = 0x2_0000_0000;
const OTHER_BYTES: u64 = 0x1_0000;

/// Byte that fills the other region.
const FILL: u8 = 0x5c;

/// A region of a file on a disk.
fn disk_file(at: u64) -> (RegionLayout, File) {
    let (layout, _) = Guest::more_memory(at, OTHER_BYTES);
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(&vec![FILL; usize::try_from(OTHER_BYTES).unwrap()]).unwrap();
    (layout, file)
}

fn shared(file: &File) -> Arc<OwnedFd> {
    Arc::new(file.try_clone().unwrap().into())
}

fn add(layout: &RegionLayout, file: &Arc<OwnedFd>) -> Message {
    Message::memory_region(code::ADD_MEM_REG, layout, Some(file)).acknowledged()
}

fn remove(layout: &RegionLayout) -> Message {
    Message::memory_region(code::REM_MEM_REG, layout, None).acknowledged()
}

/// Status byte of a used request, if it is in the guest's RAM, and the used length.
#[derive(Debug, PartialEq, Eq)]
struct Used {
    status: u8,
    written: u32,
}

const FAILED: Used = Used { status: IOERR, written: 1 };

/// A request of one block whose parts are somewhere else than in the guest's RAM.
#[derive(Clone, Copy, Default)]
struct Elsewhere {
    header: Option<u64>,
    data: Option<u64>,
    status: Option<u64>,
}

/// A guest, and the connection of its front end.
struct Scene {
    house: House,
    guest: Guest,
    client: Client,
}

impl Scene {
    fn new() -> Self {
        let house = House::new();
        let guest = Guest::new(1);
        let client = guest.connect(&house.path(0));
        Self { house, guest, client }
    }

    /// With a region of a disk's file from the start.
    fn with_disk_file() -> (Self, File) {
        let house = House::new();
        let mut guest = Guest::new(1);
        let (layout, file) = disk_file(OTHER);
        guest.files.push((layout, shared(&file)));
        let client = guest.connect(&house.path(0));
        (Self { house, guest, client }, file)
    }

    fn transfer(&mut self, kind: RequestType, elsewhere: Elsewhere) -> Used {
        let ring = &mut self.guest.rings[0];
        let at = ring.queue.place(1024);
        let header = RequestHeader { kind, reserved: 0.into(), sector: 0.into() };
        ring.queue.memory.write(GuestAddress(at), header.as_bytes());
        ring.queue.memory.write(GuestAddress(at + 1000), &[UNANSWERED]);
        let Elsewhere { header, data, status } = elsewhere;
        let writable = kind == RequestType::IN;
        let pieces = [
            Piece::readable(header.unwrap_or(at), 16),
            Piece { at: GuestAddress(data.unwrap_or(at + 16)), len: 512, writable },
            Piece::writable(status.unwrap_or(at + 1000), 1),
        ];
        self.used(at + 1000, &pieces, Form::Direct)
    }

    fn used(&mut self, status_at: u64, pieces: &[Piece], form: Form) -> Used {
        let ring = &mut self.guest.rings[0];
        let head = ring.queue.driver.add(pieces, form).unwrap();
        signal(&ring.kick);
        let mut used = None;
        until(|| {
            used = ring.queue.driver.take_used();
            used.is_some()
        });
        let (used, written) = used.unwrap();
        assert_eq!(used, head);
        Used { status: ring.queue.memory.bytes(GuestAddress(status_at), 1)[0], written }
    }

    fn read_to(&mut self, at: u64) -> Used {
        self.transfer(RequestType::IN, Elsewhere { data: Some(at), ..Elsewhere::default() })
    }

    fn faults(&self) -> u64 {
        self.house.endpoint(0).status().front_end.unwrap().queues[0].faults
    }
}

fn expect_untouched(mut file: File) {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    assert!(bytes.iter().all(|&byte| byte == FILL), "the file of the other region was written to");
}

#[test]
fn memory_comes_and_goes_under_a_running_ring() {
    let mut scene = Scene::new();
    let (layout, file) = Guest::more_memory(OTHER, OTHER_BYTES);
    assert_eq!(scene.read_to(OTHER), FAILED, "no such memory");
    for _ in 0..20 {
        assert_eq!(scene.client.number(&add(&layout, &file)), Some(0));
        assert_eq!(scene.read_to(OTHER), Used { status: OK, written: 513 });
        assert_eq!(scene.client.number(&remove(&layout)), Some(0));
        assert_eq!(scene.read_to(OTHER), FAILED);
    }
    use_disk(&mut scene.guest);
}

#[test]
fn ram_serves_beside_a_region_of_a_disks_file_and_requests_into_that_fail() {
    let (mut scene, file) = Scene::with_disk_file();
    use_disk(&mut scene.guest);
    for kind in [RequestType::IN, RequestType::OUT] {
        let data = Elsewhere { data: Some(OTHER), ..Elsewhere::default() };
        assert_eq!(scene.transfer(kind, data), FAILED, "data: {kind:?}");
        let header = Elsewhere { header: Some(OTHER), ..Elsewhere::default() };
        assert_eq!(scene.transfer(kind, header), FAILED, "header: {kind:?}");
        let status = Elsewhere { status: Some(OTHER), ..Elsewhere::default() };
        let unanswered = Used { status: UNANSWERED, written: 0 };
        assert_eq!(scene.transfer(kind, status), unanswered, "status: {kind:?}");
    }
    assert_eq!(scene.faults(), 6);
    use_disk(&mut scene.guest);
    assert_eq!(scene.house.endpoint(0).status().counts.protocol_errors, 0);
    expect_untouched(file);
}

#[test]
fn a_table_of_descriptors_in_a_disks_file_is_a_fault_of_its_chain() {
    let (mut scene, file) = Scene::with_disk_file();
    let at = scene.guest.rings[0].queue.place(64);
    scene.guest.rings[0].queue.memory.write(GuestAddress(at), &[UNANSWERED]);
    // The driver writes its table to RAM, and the descriptor is then changed to the other region.
    let table = GuestAddress(RigMemory::FAR_DATA.0);
    let ring = &mut scene.guest.rings[0];
    let head = ring.queue.driver.add(&[Piece::writable(at, 1)], Form::Indirect(table)).unwrap();
    let descriptor = ring.layout.descriptors.0 + 16 * u64::from(head.0);
    ring.queue.memory.write(GuestAddress(descriptor), &OTHER.to_le_bytes());
    signal(&ring.kick);
    let mut used = None;
    until(|| {
        used = ring.queue.driver.take_used();
        used.is_some()
    });
    assert_eq!(used, Some((head, 0)));
    use_disk(&mut scene.guest);
    expect_untouched(file);
}

#[test]
fn data_that_goes_on_from_ram_into_a_disks_file_fails() {
    let mut scene = Scene::new();
    let end = RigMemory::FAR_DATA.0 + RigMemory::FAR_DATA.1;
    let (layout, file) = disk_file(end);
    assert_eq!(scene.client.number(&add(&layout, &shared(&file))), Some(0));
    assert_eq!(scene.read_to(end - 512), Used { status: OK, written: 513 });
    assert_eq!(scene.read_to(end - 511), FAILED);
    assert_eq!(scene.read_to(end - 1), FAILED);
    expect_untouched(file);
}

#[test]
fn a_region_of_a_disks_file_comes_and_goes_under_a_running_ring() {
    let mut scene = Scene::new();
    let (layout, file) = disk_file(OTHER);
    for _ in 0..5 {
        assert_eq!(scene.client.number(&add(&layout, &shared(&file))), Some(0));
        assert_eq!(scene.read_to(OTHER), FAILED);
        use_disk(&mut scene.guest);
        assert_eq!(scene.client.number(&remove(&layout)), Some(0));
    }
    let (layout, memory) = Guest::more_memory(OTHER, OTHER_BYTES);
    assert_eq!(scene.client.number(&add(&layout, &memory)), Some(0));
    assert_eq!(scene.read_to(OTHER), Used { status: OK, written: 513 }, "memory in its place");
    expect_untouched(file);
}

#[test]
fn whatever_file_is_no_memory_is_left_alone() {
    let mut scene = Scene::new();
    let (layout, _) = Guest::more_memory(OTHER, OTHER_BYTES);
    let pipe = rustix::pipe::pipe().unwrap().0;
    let files: [Arc<OwnedFd>; 5] = [
        Arc::new(File::open("/proc/self/exe").unwrap().into()),
        // On a file system in memory, but no memory itself.
        Arc::new(File::open("/dev/zero").unwrap().into()),
        Arc::new(File::open("/dev/shm").unwrap().into()),
        Arc::new(pipe),
        rig::client::new_eventfd(),
    ];
    for file in &files {
        assert_eq!(scene.client.number(&add(&layout, file)), Some(0), "{file:?}");
        assert_eq!(scene.read_to(OTHER), FAILED, "{file:?}");
        assert_eq!(scene.client.number(&remove(&layout)), Some(0), "{file:?}");
    }
    use_disk(&mut scene.guest);
}

#[test]
fn memory_that_may_only_be_read_costs_a_guest_no_disk_and_is_left_alone() {
    let mut scene = Scene::new();
    let (layout, memory) = Guest::more_memory(OTHER, OTHER_BYTES);
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let read_only: Arc<OwnedFd> = Arc::new(File::open(path).unwrap().into());
    assert_eq!(scene.client.number(&add(&layout, &read_only)), Some(0));
    for kind in [RequestType::IN, RequestType::OUT] {
        let data = Elsewhere { data: Some(OTHER), ..Elsewhere::default() };
        assert_eq!(scene.transfer(kind, data), FAILED, "{kind:?}");
    }
    use_disk(&mut scene.guest);
    // Mapped by somebody who may write to it, it is still not written to for who may not.
    let mut owner = Guest::new(1);
    owner.files.push((layout, memory.clone()));
    let other = House::new();
    let _owner = owner.connect(&other.path(0));
    assert_eq!(scene.client.number(&remove(&layout)), Some(0));
    assert_eq!(scene.client.number(&add(&layout, &read_only)), Some(0));
    assert_eq!(scene.read_to(OTHER), FAILED);
    use_disk(&mut owner);
}

#[test]
fn rings_in_a_disks_file_are_refused() {
    let house = House::new();
    for in_file in [0, 1] {
        let mut guest = Guest::new(1);
        let (layout, file) = disk_file(OTHER);
        guest.files.push((layout, shared(&file)));
        let client = Client::connect(&house.path(0));
        for message in guest.greeting() {
            client.tell(&message).unwrap();
        }
        // All of the ring, or its used elements only.
        let ring = RigMemory::ring(OTHER, 64);
        let at = guest.rings[0].layout;
        guest.rings[0].layout =
            if in_file == 0 { ring } else { luge_virtqueue::RingLayout { used: ring.used, ..at } };
        guest.ring_setup(0, 0).iter().for_each(|message| _ = client.send(message));
        assert!(client.is_cut_off());
        expect_untouched(file);
    }
    until(|| house.endpoint(0).status().front_end.is_none());
    assert_eq!(house.endpoint(0).status().counts.protocol_errors, 2);
    let mut next = Guest::new(1);
    let _client = next.connect(&house.path(0));
    use_disk(&mut next);
}

#[test]
fn a_region_that_overlaps_one_of_a_disks_file_is_refused() {
    for (at, len) in [(OTHER, OTHER_BYTES), (OTHER + OTHER_BYTES - 1, 1), (OTHER - 0x1000, 0x1001)] {
        let (scene, _file) = Scene::with_disk_file();
        let (layout, memory) = Guest::more_memory(at, len);
        scene.client.send(&add(&layout, &memory)).unwrap();
        assert!(scene.client.is_cut_off(), "{len} bytes at {at:#x}");
    }
}

#[test]
fn a_disk_is_served_again_when_its_front_end_comes_back_with_less() {
    let (mut scene, _file) = Scene::with_disk_file();
    let ram = Message::memory_table(&scene.guest.files[..scene.guest.files.len() - 1]).acknowledged();
    assert_eq!(scene.client.number(&ram), Some(0));
    assert_eq!(scene.read_to(OTHER), FAILED);
    assert_eq!(scene.guest.rings[0].ask(&Ask::read(0, 512)).status, OK);
}

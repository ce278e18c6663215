//! Equal shares of a core's work for a hundred tenants whose requests are unlike, on counted work: the test takes the
//! turns, and every ring has requests before each of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::{Blocks, CoreId, Device, MemoryDevice, NullDevice, Shape};
use luge_core::{Account, Accounts, Schedule, Tenant, Ticks};
use luge_memory::{DmaSpace, GuestAddress, PageSize};
use luge_spec::virtio::blk::{RequestHeader, RequestType};
use luge_vhost::{Access, BlkDisk, OpenVolume, RING_FEATURES};
use luge_virtqueue::rig::{Driver, Form, Piece, RigMemory};
use luge_virtqueue::{Notifications, RingLayout};
use luge_volume::{Base, ChannelId, Graph, Volume};
use rig::{blk_session, setup_of};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Different requests in a ring. At most so many are available at a time, so that no two of them are the same chain.
const REQUESTS: u16 = 64;

const RINGS: u64 = 0x10_0000;
const DATA: (u64, u64) = (0x100_0000, 0x2_0000);

/// Guest address of the header, of indirect tables, of the data and of the status.
const HEADER: u64 = DATA.0;
const TABLE: u64 = DATA.0 + 0x1000;
const BYTES: u64 = DATA.0 + 0x1_0000;
const STATUS: u64 = DATA.0 + 0x800;

/// Work of a request of 1 MiB.
const MIB_WORK: u64 = 1 << 17;

/// Requests of a tenant, all alike.
#[derive(Clone, Copy)]
struct Load {
    device: usize,
    kind: RequestType,
    pieces: u32,
    piece_bytes: u32,
    rings: u64,
    /// Number of requests that are available in a ring before each turn.
    depth: u16,
    /// Most work of one take: a batch, or 1 MiB of data and what was begun before.
    take_work: u64,
}

const NULL: usize = 0;
const MEMORY: usize = 1;

const fn load(device: usize, kind: RequestType, pieces: u32, piece_bytes: u32) -> Load {
    let request_work = 96 + pieces as u64 * (32 + piece_bytes as u64 / 8);
    let batch_work = 64 * request_work;
    let take_work = if batch_work < MIB_WORK { batch_work } else { MIB_WORK };
    Load { device, kind, pieces, piece_bytes, rings: 1, depth: REQUESTS, take_work: request_work + take_work }
}

/// Loads of tenants: short and long ones, by many rings and by one, in many pieces, reads and writes.
const UNLIKE: [Load; 20] = [
    load(NULL, RequestType::IN, 1, 512),
    Load { rings: 5, ..load(NULL, RequestType::IN, 1, 512) },
    load(MEMORY, RequestType::OUT, 1, 512),
    load(NULL, RequestType::IN, 1, 4096),
    load(NULL, RequestType::OUT, 1, 4096),
    Load { rings: 5, ..load(NULL, RequestType::OUT, 1, 4096) },
    load(NULL, RequestType::IN, 2, 4096),
    Load { rings: 2, ..load(NULL, RequestType::IN, 1, 32768) },
    load(NULL, RequestType::IN, 16, 65536),
    load(NULL, RequestType::OUT, 16, 65536),
    load(MEMORY, RequestType::IN, 60, 512),
    load(NULL, RequestType::IN, 300, 512),
    Load { rings: 4, ..load(NULL, RequestType::OUT, 300, 512) },
    load(NULL, RequestType::FLUSH, 0, 0),
    Load { rings: 5, ..load(NULL, RequestType::FLUSH, 0, 0) },
    load(MEMORY, RequestType::IN, 1, 512),
    load(MEMORY, RequestType::OUT, 1, 4096),
    Load { rings: 3, ..load(MEMORY, RequestType::IN, 1, 4096) },
    load(MEMORY, RequestType::FLUSH, 0, 0),
    load(MEMORY, RequestType::IN, 16, 65536),
];

/// Loads of tenants of one memory disk, which does no more in a turn than one of them has credit for.
const OF_MEMORY: [Load; 4] = [
    load(MEMORY, RequestType::IN, 1, 512),
    Load { rings: 5, ..load(MEMORY, RequestType::OUT, 1, 512) },
    load(MEMORY, RequestType::OUT, 1, 4096),
    Load { rings: 3, ..load(MEMORY, RequestType::IN, 1, 4096) },
];

impl Load {
    fn chain(&self) -> Vec<Piece> {
        let data = (0..self.pieces).map(|_| Piece {
            at: GuestAddress(BYTES),
            len: self.piece_bytes,
            writable: self.kind == RequestType::IN,
        });
        [Piece::readable(HEADER, 16)].into_iter().chain(data).chain([Piece::writable(STATUS, 1)]).collect()
    }

    /// Layout of a chain: a table of its own where the ring's would not hold all.
    fn form(&self) -> Form {
        if self.pieces > 2 { Form::Indirect(GuestAddress(TABLE)) } else { Form::Direct }
    }
}

/// A ring that always has as many requests.
struct FullRing {
    memory: Arc<RigMemory>,
    driver: Driver,
    layout: RingLayout,
    depth: u16,
}

impl FullRing {
    fn new(memory: Arc<RigMemory>, at: u64, load: Load) -> Self {
        let layout = RigMemory::ring(at, 4 * REQUESTS);
        let mut driver = Driver::new(layout, Notifications::EventIndex, 0, &memory.table);
        let add = |_| driver.add(&load.chain(), load.form()).unwrap();
        let heads: Vec<_> = (0..REQUESTS).map(add).collect();
        // All places of the available ring.
        heads.iter().cycle().take(3 * heads.len()).for_each(|head| driver.push_head(head.0));
        Self { memory, driver, layout, depth: load.depth }
    }

    fn fill(&mut self) {
        let mut used = [0; 2];
        self.memory.read(GuestAddress(self.layout.used.0 + 2), &mut used);
        self.driver.set_available_index(u16::from_le_bytes(used).wrapping_add(self.depth));
    }
}

/// A core without a thread, and its tenants.
struct House {
    graph: Graph,
    channels: Vec<(Arc<dyn Device>, ChannelId)>,
    schedule: Schedule,
    rings: Vec<FullRing>,
    accounts: Vec<Arc<Account>>,
}

impl House {
    fn new() -> Self {
        let shape = Shape::new(512, Blocks((2 << 20) / 512)).unwrap();
        let memory = MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap();
        let devices: [Arc<dyn Device>; 2] = [Arc::new(NullDevice::new(shape)), Arc::new(memory)];
        let mut graph = Graph::default();
        let open = |device: Arc<dyn Device>| {
            let channel = device.open(CoreId(0)).unwrap();
            (device, graph.add_channel(channel).ok().unwrap())
        };
        let channels = devices.map(open).into();
        Self { graph, channels, schedule: Schedule::default(), rings: vec![], accounts: vec![] }
    }

    /// Adds a tenant with a volume and memory of its own.
    fn add(&mut self, account: Arc<Account>, load: Load) {
        let memory = Arc::new(RigMemory::new(&[(RINGS, 0x1_0000), DATA]));
        let header = RequestHeader { kind: load.kind, reserved: 0.into(), sector: 0.into() };
        memory.write(GuestAddress(HEADER), header.as_bytes());
        let (device, channel) = &self.channels[load.device];
        let disk = BlkDisk::new(device.geometry(), Access::ReadWrite, "", 5);
        let whole = Volume::whole(device.clone());
        let id = self.graph.add_volume(CoreId(0), &whole, Base::Channel(*channel)).unwrap();
        for ring in 0..load.rings {
            let ring = FullRing::new(memory.clone(), RINGS + ring * 0x2800, load);
            let volume = OpenVolume { id, stats: whole.stats(CoreId(0)) };
            let session =
                blk_session(disk, volume, setup_of(ring.layout, disk.features() | RING_FEATURES, &memory));
            self.schedule.add(Box::new(session), account.clone(), &mut self.graph).ok().unwrap();
            self.rings.push(ring);
        }
        self.accounts.push(account);
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.rings.iter_mut().for_each(FullRing::fill);
            self.schedule.turn(&mut self.graph, Ticks::PAST);
        }
    }

    fn works(&self) -> Vec<u64> {
        self.accounts.iter().map(|account| account.work()).collect()
    }
}

/// A house with a hundred tenants.
fn crowded_house(loads: &[Load]) -> House {
    let (mut house, accounts) = (House::new(), Accounts::default());
    for (number, load) in (0..100).zip(loads.iter().cycle()) {
        house.add(accounts.of(&Tenant::Owner(format!("tenant {number}").into())), *load);
    }
    house
}

/// A tenant with one request at a time.
const LIGHT: Load = Load { depth: 1, ..load(NULL, RequestType::IN, 1, 512) };

fn since(before: &[u64], after: &[u64]) -> Vec<u64> {
    after.iter().zip(before).map(|(after, before)| after - before).collect()
}

/// Asserts that works of tenants with these loads, one after the other, differ from the average by no more than a tenth,
/// and what `besides` says of the load.
#[track_caller]
fn assert_equal(works: &[u64], loads: &[Load], besides: impl Fn(&Load) -> u64) {
    let mean = works.iter().sum::<u64>() / u64::try_from(works.len()).unwrap();
    for (tenant, (work, load)) in works.iter().zip(loads.iter().cycle()).enumerate() {
        let differs = work.abs_diff(mean);
        assert!(differs <= mean / 10 + besides(load), "tenant {tenant}: {work}, and {mean} on average");
    }
}

/// Lets a hundred tenants have turns, and compares what is done for them, in windows and altogether.
#[track_caller]
fn assert_equal_shares(loads: &[Load]) {
    let mut house = crowded_house(loads);
    for _ in 0..6 {
        let before = house.works();
        house.turns(2500);
        assert_equal(&since(&before, &house.works()), loads, |load| load.take_work);
    }
    assert_equal(&house.works(), loads, |_| 0);
}

#[test]
fn a_hundred_tenants_with_unlike_requests_get_equal_shares() {
    assert_equal_shares(&UNLIKE);
}

#[test]
fn a_hundred_tenants_of_a_disk_that_does_little_in_a_turn_get_equal_shares_of_that() {
    assert_equal_shares(&OF_MEMORY);
}

#[test]
fn a_tenant_with_one_request_at_a_time_waits_for_a_few_turns_beside_a_hundred_busy_ones() {
    for loads in [&UNLIKE[..], &OF_MEMORY[..], &[load(NULL, RequestType::IN, 1, 512)]] {
        let mut house = crowded_house(loads);
        house.add(Accounts::default().of(&Tenant::Owner("light".into())), LIGHT);
        let light = house.accounts.pop().unwrap();
        // The round has come to it.
        house.turns(150);
        let (mut waited, mut longest) = (0, 0);
        for _ in 0..1000 {
            let before = light.visits();
            house.turns(1);
            waited = if light.visits() > before { 0 } else { waited + 1 };
            longest = longest.max(waited);
        }
        assert!(longest <= 8, "{longest} turns in a row without a visit");
    }
}

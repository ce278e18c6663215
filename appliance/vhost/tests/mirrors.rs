//! Guests of mirrors whose legs fail, are slow, or go: they see nothing but their data.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::{Blocks, Lba, Status};
use luge_seeded::{Random, fuzz};
use luge_vhost::BlkConfig;
use luge_volume::doubles::{Delay, Delaying, Failing, FailureCount, Mirror};
use luge_volume::{Composite, Volume};
use rig::Ask;
use rig::client::{Guest, GuestRing};
use rig::house::House;
use std::sync::Arc;
use std::time::Duration;

/// Blocks of a volume: a quarter of a disk.
const BLOCKS: u64 = 512;

/// Blocks of a ring's half of a volume.
const HALF: u64 = BLOCKS / 2;

/// Requests of each guest.
const STEPS: usize = 200;

fn composite(composite: impl Composite + 'static) -> Arc<Volume> {
    Arc::new(Volume::of_composite(Arc::new(composite)))
}

/// Three mirrors on parts of two disks, and a plain volume on another part: whatever a core serves of
/// a disk shares its one channel there.
struct Estate {
    house: House,
    mirrors: Vec<Arc<Mirror>>,
    failing: FailureCount,
    slow: Delay,
    pulled: FailureCount,
}

impl Estate {
    fn new() -> Self {
        let disks = [(); 2].map(|()| Volume::whole(House::disk()));
        let part =
            |disk: usize, index| Arc::new(disks[disk].part(Lba(index * BLOCKS), Blocks(BLOCKS)).unwrap());
        let (failing, slow, pulled) = (FailureCount::default(), Delay::default(), FailureCount::default());
        let legs = [
            [composite(Failing::new(part(0, 0), failing.clone(), Status::MediaError)), part(1, 0)],
            [part(0, 1), composite(Delaying::new(part(1, 1), slow.clone()))],
            [composite(Failing::new(part(0, 2), pulled.clone(), Status::Gone)), part(1, 2)],
        ];
        let mirrors: Vec<Arc<Mirror>> = legs.map(|legs| Arc::new(Mirror::new(legs))).into();
        let mut house = House::on(&[]);
        let volumes = mirrors.iter().map(|mirror| Arc::new(Volume::of_composite(mirror.clone())));
        for (index, volume) in volumes.chain([part(0, 3)]).enumerate() {
            let disk = BlkConfig { volume, ..house.disk_config(House::disk()) };
            house.serve(index, disk);
        }
        Self { house, mirrors, failing, slow, pulled }
    }

    /// Loads all volumes; half-way through each, its fault happens.
    fn load(&self, seed: u64) {
        std::thread::scope(|scope| {
            for index in 0..4 {
                let path = self.house.path(index);
                scope.spawn(move || {
                    let mut guest = Guest::new(2);
                    let _client = guest.connect(&path);
                    let mut random = Random::new(seed ^ index as u64);
                    let mut halves: Vec<_> = guest
                        .rings
                        .iter_mut()
                        .zip([0, HALF])
                        .map(|(ring, first)| Half::new(ring, first))
                        .collect();
                    (0..STEPS / 2).for_each(|_| step(&mut halves, &mut random));
                    self.break_leg(index);
                    (STEPS / 2..STEPS).for_each(|_| step(&mut halves, &mut random));
                });
            }
        });
    }

    /// The fault of a volume: the plain one has none.
    fn break_leg(&self, index: usize) {
        match index {
            0 => self.failing.demand(50),
            1 => self.slow.set(Duration::from_micros(200)),
            2 => self.pulled.demand(usize::MAX),
            _ => {}
        }
    }
}

/// One half of a volume, what is on it, and the ring that is used for it.
struct Half<'a> {
    ring: &'a mut GuestRing,
    first: u64,
    content: Vec<u8>,
}

impl<'a> Half<'a> {
    fn new(ring: &'a mut GuestRing, first: u64) -> Self {
        Self { ring, first, content: vec![0; usize::try_from(512 * HALF).unwrap()] }
    }
}

/// Writes some blocks, or reads some and compares.
fn step(halves: &mut [Half<'_>], random: &mut Random) {
    let index = random.below(halves.len());
    let Half { ring, first, content } = &mut halves[index];
    let (at, blocks) = (random.below(HALF - 8), 1 + random.below(8));
    let [start, len] = [at, blocks].map(|blocks| usize::try_from(512 * blocks).unwrap());
    let (sector, content) = (*first + at, &mut content[start..start + len]);
    if random.once_in(2) {
        content.fill(random.number().to_le_bytes()[0]);
        assert_eq!(ring.ask(&Ask::write(sector, content)).status, 0);
    } else {
        let answer = ring.ask(&Ask::read(sector, u32::try_from(len).unwrap()));
        assert_eq!(answer.status, 0);
        assert!(answer.data == content, "{blocks} blocks from {sector}: not what was written");
    }
}

#[test]
fn guests_of_mirrors_keep_their_data_while_one_leg_fails_one_is_slow_and_one_is_pulled() {
    fuzz(|random| {
        let seed = random.number();
        let estate = Estate::new();
        estate.load(seed);
        let lost = |leg| estate.mirrors.iter().map(|mirror| mirror.is_lost(leg)).collect::<Vec<_>>();
        assert_eq!(lost(0), [true, false, true]);
        assert_eq!(lost(1), [false; 3]);
    });
}

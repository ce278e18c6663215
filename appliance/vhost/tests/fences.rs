//! A fence on two cores, while guests load the volume.

#![expect(unsafe_code, reason = "spans of this test's own memory")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::{Channel, Completions, CoreId, Lba, Operation, Request, Tag};
use luge_core::Fence;
use luge_memory::{DmaMemory, DmaSpace, PageSize};
use luge_seeded::Random;
use luge_vhost::BlkConfig;
use luge_volume::Volume;
use rig::Ask;
use rig::client::{Guest, GuestRing, until};
use rig::house::House;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const BLOCKS: u64 = 2048;
const FENCED: std::ops::Range<u64> = 500..560;

/// Content of the fenced blocks, as the device itself reads it.
fn content(channel: &mut dyn Channel, memory: &DmaMemory) -> Vec<u8> {
    let bytes = 512 * (FENCED.end - FENCED.start);
    let (tag, blocks) = (Tag::default(), u32::try_from(FENCED.end - FENCED.start).unwrap());
    // SAFETY: the memory outlives the request, which ends here.
    let data = [unsafe { memory.span(0, u32::try_from(bytes).unwrap()) }.unwrap()];
    let request = Request { tag, operation: Operation::Read, lba: Lba(FENCED.start), blocks, data: &data };
    channel.submit(&request).unwrap();
    channel.commit();
    let mut done = Completions::default();
    while done.as_slice().is_empty() {
        channel.poll(&mut done);
    }
    let mut bytes = vec![0; usize::try_from(bytes).unwrap()];
    data[0].read(&mut bytes);
    bytes
}

/// Writes all over the disk, in and out of the fenced blocks, on its own ring.
fn load(ring: &mut GuestRing, seed: u64, ended: &AtomicUsize, stop: &AtomicBool) {
    let mut random = Random::new(seed);
    let mut waiting = Vec::new();
    while !stop.load(Ordering::Relaxed) || !waiting.is_empty() {
        if waiting.len() < 8 && !stop.load(Ordering::Relaxed) {
            let at = if random.once_in(5) { 490 + random.below(80) } else { random.below(BLOCKS - 8) };
            waiting.push(ring.send(&Ask::write(at, &random.bytes(1024))));
        }
        while let Some((head, _)) = ring.queue.driver.take_used() {
            let at = waiting.iter().position(|sent: &rig::Sent| sent.head == head).unwrap();
            assert_eq!(ring.queue.answer(&waiting.swap_remove(at), 1).status, 0);
            ended.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::yield_now();
    }
}

#[test]
fn fenced_blocks_stay_as_they_are_on_all_cores_and_every_request_ends_in_the_end() {
    let disk = House::disk();
    let mut house = House::on(&[]);
    let volume = Arc::new(Volume::whole(disk.clone()));
    let config = BlkConfig { volume: volume.clone(), ..house.disk_config(disk.clone()) };
    let served = house.serve(0, config);
    let (ended, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut guest = Guest::new(2);
    let _client = guest.connect(&house.path(0));
    let mut direct = disk.open(CoreId(7)).unwrap();
    let memory = DmaMemory::allocate(&DmaSpace::new(), 1 << 20, PageSize::Base, None).unwrap();
    std::thread::scope(|scope| {
        for (ring, seed) in guest.rings.iter_mut().zip(0..) {
            let (ended, stop) = (&ended, &stop);
            scope.spawn(move || load(ring, seed, ended, stop));
        }
        for _ in 0..5 {
            let progress = ended.load(Ordering::Relaxed);
            let fence = Fence::raise(served.attachments(), Lba(FENCED.start)..Lba(FENCED.end)).unwrap();
            let before = content(&mut *direct, &memory);
            (0..200).for_each(|_| std::thread::yield_now());
            assert!(content(&mut *direct, &memory) == before, "a fenced block was written");
            drop(fence);
            until(|| ended.load(Ordering::Relaxed) > progress + 20);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

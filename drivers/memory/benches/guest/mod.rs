//! A guest with memory in several regions, and guest addresses to translate.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use luge_memory::{DmaSpace, DriverAddress, GuestAddress, GuestMemory, GuestRegion, RegionLayout};
use luge_seeded::Random;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::hint::black_box;

/// Addresses of one pass.
pub const ADDRESSES: u32 = 1024;

const REGION_BYTES: u64 = 1 << 20;

/// Distance between the starts of regions, in bytes: regions do not touch.
const STRIDE: u64 = 1 << 32;

/// Order in which the addresses visit the regions.
#[derive(Clone, Copy)]
pub enum Order {
    /// Round robin.
    InTurns,
    /// Random, which no branch predictor can guess.
    Random,
}

/// Cases: name, number of regions, order.
pub const CASES: [(&str, u64, Order); 5] = [
    ("one region", 1, Order::InTurns),
    ("two regions in turns", 2, Order::InTurns),
    ("two regions at random", 2, Order::Random),
    ("eight regions in turns", 8, Order::InTurns),
    ("eight regions at random", 8, Order::Random),
];

pub struct Guest {
    memory: GuestMemory,
    addresses: Vec<GuestAddress>,
}

impl Guest {
    pub fn new(regions: u64, order: Order) -> Self {
        let memory = GuestMemory::new((0..regions).map(region)).expect("regions that do not overlap");
        let mut random = Random::new(1);
        let addresses = (0..u64::from(ADDRESSES)).map(|n| {
            let region = match order {
                Order::InTurns => n % regions,
                Order::Random => random.below(regions),
            };
            GuestAddress(region * STRIDE + n * 512 % REGION_BYTES)
        });
        Self { memory, addresses: addresses.collect() }
    }

    /// Translates all addresses, each of a buffer of 512 bytes; returns the number of successes.
    pub fn translate(&self) -> u32 {
        let (mut lookup, mut found) = (self.memory.lookup(), 0);
        for &at in &self.addresses {
            // SAFETY: nothing looks at the bytes of the span.
            let span = black_box(unsafe { lookup.whole(at, 512) });
            found += u32::from(span.is_some());
        }
        found
    }
}

fn region(number: u64) -> GuestRegion {
    let file = memfd_create("guest", MemfdFlags::CLOEXEC).expect("a file in memory");
    ftruncate(&file, REGION_BYTES).expect("a longer file");
    let at = number * STRIDE;
    let (guest, driver) = (GuestAddress(at), DriverAddress(at));
    let layout = RegionLayout { guest, driver, len: REGION_BYTES, file_offset: 0 };
    GuestRegion::map(&DmaSpace::new(), layout, file).expect("a region")
}

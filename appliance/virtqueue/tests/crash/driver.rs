//! A driver that knows what it has asked for, and judges every answer.

use crate::world::{CELLS, SECTORS, SIZE, World};
use luge_seeded::Random;
use luge_spec::virtio::split::{Descriptor, DescriptorFlags};
use std::collections::BTreeMap;
use zerocopy::IntoBytes;

/// A request that the device has.
#[derive(Clone, Copy, Debug)]
struct Request {
    sector: u64,
    /// Data that a write writes and a read must find.
    token: u64,
    writes: bool,
    /// Number of requests before it.
    order: u32,
}

/// Status that no device writes.
const NO_STATUS: u8 = 0xff;

#[derive(Clone)]
pub struct Driver {
    /// By cell.
    lent: BTreeMap<u16, Request>,
    disk: [u64; SECTORS as usize],
    tokens: u64,
    asked: u32,
    available: u16,
    used: u16,
    pub answered: usize,
}

impl Driver {
    /// A driver of an empty ring whose indices start at `base`.
    pub fn new(world: &World, base: u16) -> Self {
        world.set_half(world.layout.available.0 + 2, base);
        world.set_half(world.layout.used.0 + 2, base);
        Self {
            lent: BTreeMap::new(),
            disk: [0; SECTORS as usize],
            tokens: 0,
            asked: 0,
            available: base,
            used: base,
            answered: 0,
        }
    }

    pub fn lent(&self) -> usize {
        self.lent.len()
    }

    /// Asks for something, if a cell is free, in a sector that no other request is at.
    pub fn add(&mut self, world: &World, random: &mut Random) {
        let free: Vec<u16> = (0..CELLS).filter(|cell| !self.lent.contains_key(cell)).collect();
        let idle: Vec<u64> =
            (0..SECTORS).filter(|sector| self.lent.values().all(|lent| lent.sector != *sector)).collect();
        if free.is_empty() {
            return;
        }
        let (cell, sector, writes) = (random.pick(&free), random.pick(&idle), random.once_in(2));
        self.tokens += u64::from(writes);
        let token = if writes { self.tokens } else { self.disk[sector as usize] };
        let request = Request { sector, token, writes, order: self.asked };
        self.asked += 1;
        write_request(world, cell, &request);
        self.lent.insert(cell, request);
        world.set_half(world.layout.available.0 + 4 + 2 * u64::from(self.available % SIZE), cell * 3);
        self.available = self.available.wrapping_add(1);
        world.set_half(world.layout.available.0 + 2, self.available);
    }

    /// Takes all answers: each is one that is waited for, and right.
    pub fn reap(&mut self, world: &World) {
        while world.half(world.layout.used.0 + 2) != self.used {
            let element = world.layout.used.0 + 4 + 8 * u64::from(self.used % SIZE);
            let head = u32::from_le_bytes(world.span(element, 4).first().unwrap());
            self.used = self.used.wrapping_add(1);
            assert_eq!(head % 3, 0, "a chain that was never made");
            let cell = u16::try_from(head / 3).unwrap();
            let request = self.lent.remove(&cell).unwrap_or_else(|| panic!("cell {cell} is answered twice"));
            self.judge(world, cell, request);
            self.answered += 1;
        }
    }

    fn judge(&mut self, world: &World, cell: u16, request: Request) {
        let at = World::cell(cell);
        let [status] = world.span(at + 24, 1).first().unwrap();
        assert_eq!(status, 0, "{request:?}");
        let place = if request.writes { world.sector(request.sector) } else { world.span(at + 16, 8) };
        assert_eq!(u64::from_le_bytes(place.first().unwrap()), request.token, "{request:?}");
        self.disk[request.sector as usize] = request.token;
    }
}

/// Writes a request and its three descriptors.
fn write_request(world: &World, cell: u16, request: &Request) {
    let at = World::cell(cell);
    // The second half of the first word is reserved: here, the request's place in the order of all.
    let header = [u64::from(request.writes) | u64::from(request.order) << 32, request.sector];
    world.span(at, 16).write(header.as_bytes());
    world.span(at + 16, 8).write(&if request.writes { request.token } else { 0 }.to_le_bytes());
    world.span(at + 24, 1).write(&[NO_STATUS]);
    let data = if request.writes { 0 } else { DescriptorFlags::WRITE };
    let pieces = [(0, 16, 0), (16, 8, data), (24, 1, DescriptorFlags::WRITE)];
    for (index, (offset, len, flags)) in (cell * 3..).zip(pieces) {
        let more = if offset < 24 { DescriptorFlags::NEXT } else { 0 };
        let wire = Descriptor {
            address: (at + offset).into(),
            len: u32::to_le(len).into(),
            flags: DescriptorFlags((flags | more).into()),
            next: (index + 1).into(),
        };
        world.span(world.layout.descriptors.0 + 16 * u64::from(index), 16).write(wire.as_bytes());
    }
}

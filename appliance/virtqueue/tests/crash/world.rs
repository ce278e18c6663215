//! Memory that outlives a server that is killed: the guest's, with a ring, requests and a small disk, and
//! the in-flight region.

#![expect(unsafe_code, reason = "spans of memory that the world keeps")]

use luge_memory::{GuestAddress, PeerMemory, Span};
use luge_spec::vhost_user::inflight_bytes;
use luge_virtqueue::rig::{RigMemory, inflight_file};
use luge_virtqueue::{InflightRegion, Notifications, RingLayout, SplitQueue};
use std::sync::Arc;

pub const SIZE: u16 = 16;
/// Requests at a time: each has three descriptors.
pub const CELLS: u16 = SIZE / 3;
pub const SECTORS: u64 = 8;

/// Bytes of a cell: header, data, status.
const CELL_BYTES: u64 = 32;
/// The requests' cells, then the disk: a word for each sector.
pub const CELLS_AT: u64 = RigMemory::DATA.0;
const DISK_AT: u64 = CELLS_AT + CELL_BYTES * CELLS as u64;
const DATA_BYTES: u64 = CELL_BYTES * CELLS as u64 + 8 * SECTORS;

pub struct World {
    pub memory: RigMemory,
    pub layout: RingLayout,
    region: Arc<PeerMemory>,
}

impl World {
    pub fn new() -> Self {
        let region = PeerMemory::map(inflight_file(1, SIZE), 0, inflight_bytes(SIZE)).unwrap();
        let layout = RigMemory::ring(RigMemory::RINGS.0, SIZE);
        Self { memory: RigMemory::standard(), layout, region: Arc::new(region) }
    }

    /// A server's queue, as it is made after every start: a front end says the used index as the base.
    pub fn queue(&self) -> SplitQueue {
        let base = self.half(self.layout.used.0 + 2);
        let memory = self.memory.table.clone();
        // SAFETY: the world outlives its servers.
        let queue = unsafe { SplitQueue::new(&self.layout, Notifications::Flags, base, memory) };
        let mut queue = queue.unwrap();
        queue.track(InflightRegion::new(&self.region, 0, SIZE).unwrap()).unwrap();
        queue
    }

    /// All that a server may change.
    fn areas(&self) -> [Span; 3] {
        let ring = self.layout.used.0 + 6 + 8 * u64::from(SIZE) - self.layout.descriptors.0;
        [
            self.span(self.layout.descriptors.0, ring),
            self.span(CELLS_AT, DATA_BYTES),
            // SAFETY: the world keeps its region.
            unsafe { self.region.span(0, u32::try_from(inflight_bytes(SIZE)).unwrap()) }.unwrap(),
        ]
    }

    pub fn span(&self, at: u64, len: u64) -> Span {
        // SAFETY: the world keeps its memory.
        unsafe { self.memory.table.whole_span(GuestAddress(at), u32::try_from(len).unwrap()) }.unwrap()
    }

    pub fn save(&self) -> Vec<u8> {
        let areas = self.areas();
        let mut bytes = vec![0; usize::try_from(Span::total(&areas)).unwrap()];
        let mut to = bytes.as_mut_slice();
        for area in areas {
            let copied = area.read(to);
            to = &mut to[copied..];
        }
        bytes
    }

    pub fn load(&self, mut bytes: &[u8]) {
        for area in self.areas() {
            let copied = area.write(bytes);
            bytes = &bytes[copied..];
        }
    }

    pub fn half(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.span(at, 2).first().unwrap())
    }

    pub fn set_half(&self, at: u64, value: u16) {
        self.span(at, 2).write(&value.to_le_bytes());
    }

    /// Whether the region has no chain in flight, and knows the index of the used ring.
    pub fn assert_settled(&self) {
        let region = self.areas()[2];
        let mut bytes = vec![0; region.len() as usize];
        region.read(&mut bytes);
        assert!(bytes.chunks(16).skip(1).take(SIZE.into()).all(|state| state[0] == 0), "marks are left");
        let used = u16::from_le_bytes([bytes[14], bytes[15]]);
        assert_eq!(used, self.half(self.layout.used.0 + 2), "`used_idx` is not that of the ring");
    }

    pub fn cell(cell: u16) -> u64 {
        CELLS_AT + CELL_BYTES * u64::from(cell)
    }

    pub fn sector(&self, sector: u64) -> Span {
        self.span(DISK_AT + 8 * sector, 8)
    }
}

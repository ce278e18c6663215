//! Time that a memory device takes for a read, and that copying the same bytes alone takes.
//!
//! `cargo bench -p luge-block`. The disk of 512 MiB takes free hugepages, or ordinary pages where there
//! are none: the group's name says which.

#![expect(unsafe_code, reason = "spans of the requests' memory are addresses")]

use criterion::Throughput;
use luge_block::{
    Blocks, Channel, Completions, CoreId, Device, Lba, MemoryDevice, Operation, Request, Shape, Tag,
    TransferExtent,
};
use luge_memory::{DmaMemory, DmaSpace, PageSize, Span};
use luge_seeded::Random;
use std::sync::Arc;

const DISK_BYTES: u64 = 512 << 20;
const BLOCK_BYTES: u32 = 512;

/// Buffers that requests read into, chosen by chance, and requests in a batch.
const BUFFERS: u16 = 128;
const BATCH: usize = 64;

/// Measurements: a name, bytes of a request, bytes of the disk that the requests are spread over.
const CASES: [(&str, u32, u64); 4] = [
    ("512 bytes, in the cache", 512, 128 << 10),
    ("512 bytes, anywhere", 512, DISK_BYTES),
    ("4096 bytes, in the cache", 4096, 128 << 10),
    ("4096 bytes, anywhere", 4096, DISK_BYTES),
];

/// A disk, or memory that is copied from without one; and the buffers of requests.
struct Rig {
    channel: Box<dyn Channel>,
    extent: TransferExtent,
    done: Completions,
    plain: DmaMemory,
    buffers: DmaMemory,
    random: Random,
}

impl Rig {
    fn new(space: &Arc<DmaSpace>, pages: PageSize) -> Option<Self> {
        let shape = Shape::new(BLOCK_BYTES, Blocks(DISK_BYTES / u64::from(BLOCK_BYTES))).ok()?;
        let device = MemoryDevice::new(space, shape, pages, None).ok()?;
        let channel = device.open(CoreId(0)).ok()?;
        let extent = TransferExtent::new(&device.geometry(), Lba(0), shape.blocks());
        let memory = |len| DmaMemory::allocate(space, len, pages, None).ok();
        let (plain, buffers) = (memory(DISK_BYTES)?, memory(4096 * u64::from(BUFFERS))?);
        // Pages that were never written may all be one.
        (0..DISK_BYTES >> 20).for_each(|mib| span(&plain, mib << 20, 1 << 20).fill(1));
        let random = Random::new(1);
        Some(Self { channel, extent, done: Completions::default(), plain, buffers, random })
    }

    /// A batch of reads, of each where and into which buffer.
    fn batch(&mut self, bytes: u32, within: u64) -> [(u64, Span); BATCH] {
        std::array::from_fn(|_| {
            let bytes_u64 = u64::from(bytes);
            let at = self.random.below(within / bytes_u64) * bytes_u64;
            let buffer = self.random.below(u64::from(BUFFERS)) * bytes_u64;
            (at, span(&self.buffers, buffer, bytes))
        })
    }

    /// A batch of reads by the device.
    fn read(&mut self, bytes: u32, within: u64) {
        let batch = self.batch(bytes, within);
        let extent = self.extent;
        let requests = batch.each_ref().map(|(at, data)| {
            let request = Request {
                tag: Tag::default(),
                operation: Operation::Read,
                lba: Lba(at / u64::from(BLOCK_BYTES)),
                blocks: bytes / BLOCK_BYTES,
                data: std::slice::from_ref(data),
            };
            extent.check(&request, Tag::default()).expect("a read on the disk")
        });
        let (taken, refusal) = self.channel.submit_all(&requests);
        assert_eq!(taken, BATCH, "{refusal:?}");
        self.channel.commit();
        self.done.clear();
        self.channel.poll(&mut self.done);
        assert_eq!(self.done.as_slice().len(), BATCH);
    }

    /// Copies as many bytes without a device, and without asking for anything ahead.
    fn copy(&mut self, bytes: u32, within: u64) {
        for (at, data) in self.batch(bytes, within) {
            span(&self.plain, at, bytes).copy_to(&data);
        }
    }
}

fn span(memory: &DmaMemory, at: u64, len: u32) -> Span {
    // SAFETY: the rig keeps the memory while requests and copies are made.
    unsafe { memory.span(at, len) }.expect("a place inside of the memory")
}

fn main() {
    let space = DmaSpace::new();
    let huge = Rig::new(&space, PageSize::Huge2MiB).map(|rig| (rig, "hugepages"));
    let rig = huge.or_else(|| Some((Rig::new(&space, PageSize::Base)?, "ordinary pages")));
    let (mut rig, pages) = rig.expect("a gigabyte of memory");
    luge_measure::time(|criterion| {
        let mut group = criterion.benchmark_group(format!("{BATCH} reads, {pages}"));
        group.throughput(Throughput::Elements(BATCH as u64));
        for (name, bytes, within) in CASES {
            group.bench_function(format!("{name}: device"), |b| b.iter(|| rig.read(bytes, within)));
            group.bench_function(format!("{name}: copies alone"), |b| b.iter(|| rig.copy(bytes, within)));
        }
        group.finish();
    });
}

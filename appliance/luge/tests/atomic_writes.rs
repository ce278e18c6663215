//! Atomic writes through a volume on an SSD: one command each, in more spans than the SSD's driver takes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::{CoreId, Device, Durability, Lba, Operation, Request, Status, Tag};
use luge_memory::Span;
use luge_nvme::scripted::{Rig, Script, ScriptedNamespace};
use luge_volume::{Base, Graph, Volume, VolumeId};

const WRITE: Operation = Operation::Write(Durability::Media);

/// A volume on a namespace that promises to write 128 blocks of 512 bytes atomically.
struct Disk {
    rig: Rig,
    graph: Graph,
    volume: VolumeId,
}

impl Disk {
    fn new() -> Self {
        let namespace = ScriptedNamespace { atomic_z: 127, ..ScriptedNamespace::new(1, 9) };
        let rig = Rig::new(Script { transfer_max: 0, namespaces: vec![namespace], ..Script::default() });
        let namespace = rig.controller.namespaces().remove(0);
        let mut graph = Graph::default();
        let base = Base::Channel(graph.add_channel(namespace.open(CoreId(0)).unwrap()).ok().unwrap());
        let volume = Volume::whole(namespace);
        assert_eq!(volume.geometry().atomic_blocks, 128);
        let volume = graph.add_volume(CoreId(0), &volume, base).unwrap();
        Self { rig, graph, volume }
    }

    /// Memory of `blocks` blocks in spans of 32 bytes at odd addresses.
    fn scattered(&self, blocks: u32) -> Vec<Span> {
        (0..u64::from(blocks) * 16).map(|piece| self.rig.buffer(piece * 65 + 1, 32)).collect()
    }

    /// Writes the memory to the volume; returns the number of commands that the SSD got.
    fn write(&mut self, lba: u64, data: &[Span]) -> usize {
        let blocks = u32::try_from(data.len() / 16).unwrap();
        let request = Request { tag: Tag::new(1, 7), operation: WRITE, lba: Lba(lba), blocks, data };
        self.graph.volume(self.volume).unwrap().submit(&request).unwrap();
        let mut ended = None;
        Rig::until("the write ends", || {
            self.graph.commit();
            self.rig.ssd.step();
            self.graph.poll(|run| ended = run.first().copied());
            ended.is_some()
        });
        assert_eq!(ended.unwrap().status(), Status::Success);
        self.rig.ssd.take_commands().len()
    }
}

#[test]
fn a_write_of_the_atomic_size_in_thousands_of_spans_is_one_command() {
    let mut disk = Disk::new();
    for (blocks, lba) in [(17, 0), (100, 5), (128, 1000)] {
        let data = disk.scattered(blocks);
        let bytes: Vec<u8> = (0..blocks * 512).map(|at| u8::try_from(at / 32 % 251).unwrap()).collect();
        data.iter().zip(bytes.chunks(32)).for_each(|(span, bytes)| _ = span.write(bytes));
        assert_eq!(disk.write(lba, &data), 1, "{blocks} blocks");
        assert_eq!(disk.rig.ssd.media(1, lba, blocks), bytes, "{blocks} blocks");
    }
    assert_eq!(disk.rig.ssd.dma_faults(), 0);
}

#[test]
fn a_longer_write_may_be_several_commands() {
    let mut disk = Disk::new();
    let data = disk.scattered(129);
    assert!(disk.write(0, &data) > 1);
}

//! Operations of a volume on an SSD that it does in steps: reads and writes of memory that the SSD reaches.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::{
    Completion, CopyRange, CoreId, Device, Durability, Lba, Operation, Request, Status, Stepped, Tag,
    WriteSame,
};
use luge_nvme::scripted::{Rig, Script, ScriptedNamespace};
use luge_spec::nvme::{IoOpcode, io_flags, oncs};
use luge_volume::{Base, CopyRequest, Graph, Volume, VolumeId};
use std::sync::Arc;

const COMPARE_AND_WRITE: Operation = Operation::CompareAndWrite(Durability::Media);

/// A volume on a namespace of an SSD.
struct Disk {
    rig: Rig,
    graph: Graph,
    volume: VolumeId,
}

impl Disk {
    /// A disk on an SSD that transfers two pages at once.
    fn new(oncs: u16) -> Self {
        let namespaces = vec![ScriptedNamespace::new(1, 9)];
        let rig = Rig::new(Script { transfer_max: 1, oncs, namespaces, ..Script::default() });
        let namespace = rig.controller.namespaces().remove(0);
        assert_eq!(namespace.geometry().transfer_blocks_max, 16);
        let mut graph = Graph::default();
        let base = Base::Channel(graph.add_channel(namespace.open(CoreId(0)).unwrap()).ok().unwrap());
        let whole = Arc::new(Volume::whole(namespace));
        let volume = graph.add_volume(CoreId(0), &whole, base).unwrap();
        Self { rig, graph, volume }
    }

    fn run(&mut self, operation: Operation, lba: u64, blocks: u32, content: &[u8]) -> Status {
        let memory = self.rig.buffer(1, u32::try_from(content.len()).unwrap());
        memory.write(content);
        let spans = [memory];
        let data: &[_] = if content.is_empty() { &[] } else { &spans };
        let request = Request { tag: Tag::new(1, 7), operation, lba: Lba(lba), blocks, data };
        self.graph.volume(self.volume).unwrap().submit(&request).unwrap();
        self.end()
    }

    fn end(&mut self) -> Status {
        let mut ended: Option<Completion> = None;
        Rig::until("the request ends", || {
            self.graph.commit();
            self.rig.ssd.step();
            self.graph.poll(|run| ended = run.first().copied());
            ended.is_some()
        });
        ended.unwrap().status()
    }
}

/// Blocks of which each has another byte.
fn pattern(blocks: usize) -> Vec<u8> {
    (0..blocks * 512).map(|at| u8::try_from(at / 512 % 251).unwrap()).collect()
}

#[test]
fn operations_in_steps_do_what_they_mean_on_an_ssd_with_small_limits() {
    let mut disk = Disk::new(0);
    let content = pattern(100);
    assert_eq!(disk.run(Operation::Write(Durability::Cache), 0, 100, &content), Status::Success);
    let bounced = disk.rig.controller.bounced();
    assert_eq!(disk.run(Operation::Compare, 0, 100, &content), Status::Success);
    let mut other = content.clone();
    other[99 * 512 + 3] ^= 1;
    assert_eq!(disk.run(Operation::Compare, 0, 100, &other), Status::CompareFailed);
    assert_eq!(disk.graph.mismatch(1, 7), Some(99 * 512 + 3));
    assert_eq!(disk.run(Operation::Verify, 0, 100, &[]), Status::Success);
    let both = [&content[512..17 * 512], &vec![9; 16 * 512]].concat();
    assert_eq!(disk.run(COMPARE_AND_WRITE, 1, 16, &both), Status::Success);
    assert_eq!(disk.run(COMPARE_AND_WRITE, 1, 16, &both), Status::CompareFailed);
    assert!(disk.rig.ssd.media(1, 1, 16).iter().all(|&byte| byte == 9));
    let sources = [CopyRange { lba: Lba(50), blocks: 40 }, CopyRange { lba: Lba(20), blocks: 3 }];
    let copy =
        CopyRequest { tag: Tag::new(1, 7), sources: &sources, lba: Lba(500), durability: Durability::Cache };
    disk.graph.volume(disk.volume).unwrap().submit_copy(&copy).unwrap();
    assert_eq!(disk.end(), Status::Success);
    let expected = [&content[50 * 512..90 * 512], &content[20 * 512..23 * 512]].concat();
    assert!(disk.rig.ssd.media(1, 500, 43) == expected);
    assert_eq!(disk.rig.controller.bounced(), bounced, "the steps have memory that the SSD takes");
    assert_eq!(disk.rig.ssd.dma_faults(), 0);
}

#[test]
fn operations_that_only_volumes_have_use_memory_that_the_ssd_reaches() {
    let mut disk = Disk::new(0);
    let (one, many) = (pattern(3)[1024..].to_vec(), pattern(100));
    let bounced = disk.rig.controller.bounced();
    let same = Operation::Stepped(Stepped::WriteSame(WriteSame::Media));
    drop(disk.rig.ssd.take_commands());
    assert_eq!(disk.run(same, 5, 300, &one), Status::Success);
    let writes = disk.rig.ssd.take_commands();
    assert!(writes.iter().all(|write| write.cdw10[2] & io_flags::FORCE_UNIT_ACCESS != 0));
    assert!(disk.rig.ssd.media(1, 5, 300) == one.repeat(300));
    let compare_same = Operation::Stepped(Stepped::CompareSame);
    assert_eq!(disk.run(compare_same, 5, 300, &one), Status::Success);
    assert_eq!(disk.run(compare_same, 5, 301, &one), Status::CompareFailed);
    let compared = Operation::Stepped(Stepped::WriteAndCompare);
    assert_eq!(disk.run(compared, 50, 100, &many), Status::Success);
    assert!(disk.rig.ssd.media(1, 50, 100) == many);
    assert_eq!(disk.rig.controller.bounced(), bounced, "the steps have memory that the SSD takes");
    assert_eq!(disk.rig.ssd.dma_faults(), 0);
}

#[test]
fn a_write_same_of_zeroes_to_the_media_is_write_zeroes_and_a_flush() {
    let mut disk = Disk::new(oncs::WRITE_ZEROES);
    assert_eq!(disk.run(Operation::Write(Durability::Cache), 0, 100, &pattern(100)), Status::Success);
    drop(disk.rig.ssd.take_commands());
    let same = Operation::Stepped(Stepped::WriteSame(WriteSame::UnmapMedia));
    assert_eq!(disk.run(same, 10, 50, &[]), Status::Success);
    let opcodes: Vec<_> = disk.rig.ssd.take_commands().iter().map(|command| command.opcode).collect();
    let (flush, zeroes) = opcodes.split_last().unwrap();
    assert_eq!(IoOpcode(*flush), IoOpcode::FLUSH);
    assert!(zeroes.iter().all(|&opcode| IoOpcode(opcode) == IoOpcode::WRITE_ZEROES), "{opcodes:02x?}");
    assert!(disk.rig.ssd.media(1, 10, 50).iter().all(|&byte| byte == 0));
}

#[test]
fn an_ssd_verifies_by_itself_where_it_can() {
    let mut disk = Disk::new(oncs::VERIFY | oncs::WRITE_UNCORRECTABLE);
    drop(disk.rig.ssd.take_commands());
    assert_eq!(disk.run(Operation::Verify, 0, 100, &[]), Status::Success);
    let commands = disk.rig.ssd.take_commands();
    assert!(commands.iter().all(|command| IoOpcode(command.opcode) == IoOpcode::VERIFY));
    assert_eq!(disk.run(Operation::WriteUncorrectable, 3, 40, &[]), Status::Success);
    assert_eq!(disk.run(Operation::Verify, 0, 100, &[]), Status::MediaError);
    assert_eq!(disk.run(Operation::Compare, 3, 1, &pattern(1)), Status::MediaError);
    assert_eq!(disk.run(COMPARE_AND_WRITE, 3, 1, &pattern(2)), Status::MediaError);
}

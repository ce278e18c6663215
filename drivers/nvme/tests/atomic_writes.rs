//! Atomic writes: however scattered in memory, a write of the promised size is one command.

use luge_block::{Device, Durability, Lba, Operation, Status};
use luge_memory::Span;
use luge_nvme::ControllerState;
use luge_nvme::scripted::{Rig, Script, ScriptedNamespace};
use luge_seeded::Random;
use luge_spec::nvme::IoOpcode;

/// Rig whose SSD writes 128 blocks of 512 bytes atomically, and takes transfers of any length.
fn rig() -> Rig {
    let namespace = ScriptedNamespace { atomic_z: 127, ..ScriptedNamespace::new(1, 9) };
    let rig = Rig::new(Script { transfer_max: 0, namespaces: vec![namespace], ..Script::default() });
    assert_eq!(rig.controller.namespaces()[0].geometry().atomic_blocks, 128);
    rig
}

/// Memory of `total` bytes in pieces at random addresses, none of which is longer than a page.
fn scattered(rig: &Rig, random: &mut Random, total: u32, pieces: u32) -> Vec<Span> {
    let piece = |index: u32| {
        let len = total / pieces + u32::from(index < total % pieces);
        rig.buffer(u64::from(index) * 8192 + random.below(4096), len)
    };
    (0..pieces).map(piece).collect()
}

#[test]
fn a_write_of_the_promised_size_is_one_command_however_scattered_it_is() {
    let rig = rig();
    let geometry = rig.controller.namespaces()[0].geometry();
    let (mut channel, mut random) = (rig.channel(), Random::new(3));
    for pieces in [16, 100, 255, geometry.spans_max.into()] {
        let data = scattered(&rig, &mut random, 128 * 512, pieces);
        data.iter().for_each(|span| span.fill(u8::try_from(pieces % 251).unwrap()));
        let write = Operation::Write(Durability::Cache);
        assert_eq!(rig.run(&mut *channel, write, Lba(3), &data), Status::Success);
        let commands = rig.ssd.take_commands();
        assert_eq!(commands.len(), 1, "{pieces} pieces");
        assert_eq!(IoOpcode(commands[0].opcode), IoOpcode::WRITE);
        assert_eq!(commands[0].cdw10[2] & 0xffff, 127, "blocks of the command, zero-based");
        assert!(rig.ssd.media(1, 3, 128).iter().all(|&byte| u32::from(byte) == pieces % 251));
    }
    assert!(rig.controller.bounced() > 0);
    assert_eq!(rig.ssd.dma_faults(), 0);
}

#[test]
fn an_ssd_that_takes_short_transfers_promises_no_more_than_one_of_them() {
    let namespace = ScriptedNamespace { atomic_z: u16::MAX, ..ScriptedNamespace::new(1, 9) };
    let rig = Rig::new(Script { transfer_max: 1, namespaces: vec![namespace], ..Script::default() });
    assert_eq!(rig.controller.namespaces()[0].geometry().atomic_blocks, 16);
}

#[test]
fn an_ssd_whose_atomic_writes_are_smaller_after_a_reset_is_given_up() {
    let rig = Rig::new(Script { atomic_z: 15, ..Script::default() });
    assert_eq!(rig.controller.namespaces()[0].geometry().atomic_blocks, 16);
    rig.ssd.script(|script| script.atomic_z = 14);
    rig.ssd.fail();
    Rig::until("it is given up", || rig.controller.state() == ControllerState::Gone);
}

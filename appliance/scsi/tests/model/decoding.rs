//! Random CDBs, against a decoder that was written from the tables of the standard.

use crate::plain::{self, Verdict, Work, judge};
use crate::rig::UNIT;
use luge_block::{Blocks, Durability};
use luge_scsi::{CATALOG, Command, Sense, UnitView, decode, transfer};
use luge_seeded::{Random, fuzz};

/// A unit of some size, with all limits and settings by chance.
fn unit(random: &mut Random) -> UnitView {
    let blocks = match random.below(4_u32) {
        0 => random.between(1_u64, 64),
        1 => 1000,
        2 => random.between(1_u64, 1 << 40),
        _ => u64::MAX,
    };
    UnitView {
        blocks: Blocks(blocks),
        block_bytes: 512 << random.below(4_u32),
        read_only: random.once_in(4),
        least_durability: if random.once_in(2) { Durability::Media } else { Durability::Cache },
        unmap_blocks_max: if random.once_in(4) { 0 } else { 1000 },
        write_same_blocks_max: random.between(1_u32, 70_000),
        verify_blocks_max: random.between(1_u32, 70_000),
        verify_data_blocks_max: random.between(1_u32, 2048),
        compare_and_write_blocks_max: random.between(1_u8, u8::MAX),
        ..UNIT
    }
}

/// A CDB of any length and content: of all zeroes and ones, of random bytes, of a known command with few bits beside
/// those that it may have.
pub fn cdb(random: &mut Random) -> Vec<u8> {
    let length = if random.once_in(4) { random.below(33_usize) } else { 32 };
    let mut cdb = random.bytes(length);
    if random.once_in(8) {
        return cdb;
    }
    let entry = &CATALOG[random.below(CATALOG.len())];
    for (at, byte) in cdb.iter_mut().enumerate() {
        let used = entry.usage.get(at).copied().unwrap_or(0xff);
        match at {
            0 => *byte = used,
            1 if entry.service_action.is_some() => *byte = used & 0x1f,
            _ => *byte &= used,
        }
        if (2..8).contains(&at) && !random.once_in(8) {
            *byte = 0;
        }
    }
    if random.once_in(3) && length > 1 {
        let at = random.between(1, length - 1);
        cdb[at] ^= 1 << random.below(8_u32);
    }
    cdb
}

/// A decoded command in the terms of the plain decoder.
fn work(command: &Command, unit: &UnitView) -> Work {
    match command {
        Command::Blocks(blocks) => Work::Blocks {
            operation: blocks.operation,
            lba: blocks.lba.0,
            blocks: blocks.blocks,
            data_bytes: blocks.data_bytes(unit.block_bytes),
        },
        Command::Flush => Work::Flush,
        Command::Unmap(unmap) => Work::Unmap(unmap.list_bytes),
        Command::Nothing => Work::Nothing,
        Command::Relayed | Command::Stop => Work::DeviceServer,
    }
}

fn check(cdb: &[u8], unit: &UnitView) {
    match (decode(cdb, unit), judge(cdb, unit)) {
        (Ok(command), Verdict::Work(expected)) => {
            assert_eq!(work(&command, unit), expected, "{cdb:02x?} {unit:?}");
        }
        (Err(sense), Verdict::Faults(faults)) => {
            let code = sense.code.0;
            assert!(faults.contains(&code), "{cdb:02x?}: {code:04x}, not {faults:04x?}; {unit:?}");
        }
        (decoded, expected) => panic!("{cdb:02x?} is {decoded:?}, not {expected:?}; {unit:?}"),
    }
}

#[test]
fn every_cdb_is_decoded_as_the_tables_of_the_standard_say() {
    fuzz(|random| {
        let unit = unit(random);
        for _ in 0..500 {
            check(&cdb(random), &unit);
        }
    });
}

#[test]
fn the_short_way_of_transfers_finds_what_the_long_one_does_or_nothing() {
    fuzz(|random| {
        let unit = unit(random);
        for _ in 0..500 {
            let mut padded = [0; 32];
            let cdb = cdb(random);
            padded[..cdb.len()].copy_from_slice(&cdb);
            let Some(short) = padded.first_chunk().and_then(|cdb| transfer(cdb, &unit)) else { continue };
            match decode(&padded, &unit) {
                Ok(Command::Blocks(long)) => {
                    assert_eq!(short.operation, long.operation);
                    assert_eq!(short.lba, long.lba);
                    assert_eq!(short.blocks, long.blocks);
                    assert_eq!(short.blocks, long.data_blocks);
                }
                Ok(Command::Nothing) => assert_eq!(short.blocks, 0, "{padded:02x?}"),
                // The volume refuses what is not looked at.
                Err(sense) => {
                    let end = short.lba.0.checked_add(short.blocks.into());
                    let outside = end.is_none_or(|end| end > unit.blocks.0);
                    let protected = unit.read_only && short.operation.changes_data();
                    assert!(outside || protected, "{padded:02x?}: {sense:?}");
                }
                other => panic!("{padded:02x?} is a transfer, and {other:?}"),
            }
        }
    });
}

#[test]
fn the_parameters_of_an_unmap_become_ranges_that_they_name_or_an_error() {
    fuzz(|random| {
        let unit = UnitView { read_only: false, unmap_blocks_max: 1000, ..unit(random) };
        let length = random.below(200_u16);
        let mut list = random.bytes(length.into());
        for (at, byte) in list.iter_mut().enumerate() {
            // Short lists of blocks at the start are the ones that are taken.
            let small = matches!(at % 16, 8..14 | 0..2 | 4) && at != 3;
            *byte = if small && !random.once_in(50) { 0 } else { *byte };
        }
        let command = luge_scsi::UnmapCommand { list_bytes: length };
        match command.ranges(&list, &unit) {
            Ok(ranges) => {
                let named = plain::descriptors(&list);
                let taken: Vec<_> = ranges.iter().map(|range| (range.lba.0, range.blocks)).collect();
                assert_eq!(taken, named, "{list:02x?}");
                assert!(named.iter().all(|&(lba, blocks)| lba + u64::from(blocks) <= unit.blocks.0));
                assert!(named.iter().map(|&(_, blocks)| u64::from(blocks)).sum::<u64>() <= 1000);
            }
            Err(Sense { key, .. }) => assert_eq!(key.0, 5),
        }
    });
}

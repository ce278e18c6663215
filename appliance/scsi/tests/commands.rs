//! Commands by their CDBs, a line for each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::{Blocks, Durability, Lba, Operation, Stepped, WriteSame};
use luge_scsi::{BlockCommand, Command, FieldPointer, Sense, UnitView, UnmapCommand, decode};
use luge_spec::scsi::AdditionalSense;
use rig::UNIT;

const CACHE: Operation = Operation::Write(Durability::Cache);
const MEDIA: Operation = Operation::Write(Durability::Media);
const SAME: Operation = Operation::Stepped(Stepped::WriteSame(WriteSame::Cache));
const SAME_UNMAP: Operation = Operation::Stepped(Stepped::WriteSame(WriteSame::UnmapCache));
const COMPARE_SAME: Operation = Operation::Stepped(Stepped::CompareSame);
const WRITE_VERIFY: Operation = Operation::Stepped(Stepped::WriteAndVerify);
const WRITE_COMPARE: Operation = Operation::Stepped(Stepped::WriteAndCompare);
const COMPARE_WRITE: Operation = Operation::CompareAndWrite(Durability::Cache);
const COMPARE_WRITE_MEDIA: Operation = Operation::CompareAndWrite(Durability::Media);

/// A CDB with its command: operation, first block, blocks, blocks of data.
type Line = (&'static [u8], Operation, u64, u32, u32);

/// All commands with blocks, in the order of their operation codes.
const BLOCK_COMMANDS: &[Line] = &[
    (&[0x08, 0, 1, 2, 3, 0], Operation::Read, 0x102, 3, 3),
    (&[0x08, 0, 0, 0, 0, 0], Operation::Read, 0, 256, 256),
    (&[0x0a, 0, 1, 2, 3, 0], CACHE, 0x102, 3, 3),
    (&[0x0a, 0, 0, 0, 0, 0], CACHE, 0, 256, 256),
    (&[0x28, 0, 0, 0, 1, 2, 0, 0, 3, 0], Operation::Read, 0x102, 3, 3),
    (&[0x28, 0x1b, 0, 0, 1, 2, 0, 0, 3, 0], Operation::Read, 0x102, 3, 3),
    (&[0x2a, 0, 0, 0, 1, 2, 0, 0, 3, 0], CACHE, 0x102, 3, 3),
    (&[0x2a, 0x10, 0, 0, 1, 2, 0, 0, 3, 0], CACHE, 0x102, 3, 3),
    (&[0x2a, 0x08, 0, 0, 1, 2, 0, 0, 3, 0], MEDIA, 0x102, 3, 3),
    (&[0x2e, 0, 0, 0, 1, 2, 0, 0, 3, 0], WRITE_VERIFY, 0x102, 3, 3),
    (&[0x2e, 0x02, 0, 0, 1, 2, 0, 0, 3, 0], WRITE_COMPARE, 0x102, 3, 3),
    (&[0x2f, 0, 0, 0, 1, 2, 0, 0, 3, 0], Operation::Verify, 0x102, 3, 0),
    (&[0x2f, 0x02, 0, 0, 1, 2, 0, 0, 3, 0], Operation::Compare, 0x102, 3, 3),
    (&[0x2f, 0x06, 0, 0, 1, 2, 0, 0, 3, 0], COMPARE_SAME, 0x102, 3, 1),
    (&[0x41, 0, 0, 0, 1, 2, 0, 0, 3, 0], SAME, 0x102, 3, 1),
    (&[0x41, 0x08, 0, 0, 1, 2, 0, 0, 3, 0], SAME_UNMAP, 0x102, 3, 1),
    (&[0x88, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], Operation::Read, 0x102, 3, 3),
    (&[0x89, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], COMPARE_WRITE, 0x102, 3, 6),
    (&[0x89, 0x18, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 32, 0, 0], COMPARE_WRITE_MEDIA, 0x102, 32, 64),
    (&[0x8a, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], CACHE, 0x102, 3, 3),
    (&[0x8a, 0x08, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], MEDIA, 0x102, 3, 3),
    (&[0x8e, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], WRITE_VERIFY, 0x102, 3, 3),
    (&[0x8e, 0x02, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], WRITE_COMPARE, 0x102, 3, 3),
    (&[0x8f, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], Operation::Verify, 0x102, 3, 0),
    (&[0x8f, 0x02, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], Operation::Compare, 0x102, 3, 3),
    (&[0x8f, 0x06, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], COMPARE_SAME, 0x102, 3, 1),
    (&[0x93, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], SAME, 0x102, 3, 1),
    (&[0x93, 0x01, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], SAME, 0x102, 3, 0),
    (&[0x93, 0x09, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], SAME_UNMAP, 0x102, 3, 0),
    (&[0xa8, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], Operation::Read, 0x102, 3, 3),
    (&[0xaa, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], CACHE, 0x102, 3, 3),
    (&[0xaa, 0x08, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], MEDIA, 0x102, 3, 3),
    (&[0xae, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], WRITE_VERIFY, 0x102, 3, 3),
    (&[0xae, 0x02, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], WRITE_COMPARE, 0x102, 3, 3),
    (&[0xaf, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], Operation::Verify, 0x102, 3, 0),
    (&[0xaf, 0x02, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], Operation::Compare, 0x102, 3, 3),
    (&[0xaf, 0x06, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], COMPARE_SAME, 0x102, 3, 1),
];

#[test]
fn a_block_command_becomes_one_operation_on_the_blocks_that_its_cdb_says() {
    for &(cdb, operation, lba, blocks, data_blocks) in BLOCK_COMMANDS {
        let command = BlockCommand { operation, lba: Lba(lba), blocks, data_blocks };
        assert_eq!(decode(cdb, &UNIT), Ok(Command::Blocks(command)), "{cdb:02x?}");
        assert_eq!(command.data_bytes(512), u64::from(data_blocks) * 512);
    }
}

#[test]
fn commands_without_blocks_of_their_own_become_what_they_are() {
    let unmap = Command::Unmap(UnmapCommand { list_bytes: 24 });
    let lines: &[(&[u8], Command)] = &[
        (&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], Command::Flush),
        (&[0x35, 0x07, 0, 0, 1, 2, 0, 0, 3, 0], Command::Flush),
        (&[0x91, 0x06, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0], Command::Flush),
        (&[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], unmap),
        (&[0x00, 0, 0, 0, 0, 0], Command::Relayed),
        (&[0x00, 0xe0, 0, 0, 0, 0], Command::Relayed),
        (&[0x12, 1, 0x83, 1, 0, 0], Command::Relayed),
        (&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], Command::Relayed),
        (&[0x1b, 0, 0, 0, 1, 0], Command::Relayed),
        (&[0x1b, 1, 0, 0, 0, 0], Command::Stop),
        (&[0x1b, 0, 0, 0, 4, 0], Command::Relayed),
        (&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], Command::Relayed),
        (&[0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], Command::Relayed),
        (&[0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], Command::Relayed),
        (&[0x5f, 6, 3, 0, 0, 0, 0, 0, 24, 0], Command::Relayed),
    ];
    for (cdb, command) in lines {
        assert_eq!(decode(cdb, &UNIT), Ok(*command), "{cdb:02x?}");
    }
}

#[test]
fn a_command_without_blocks_succeeds_with_nothing_to_do() {
    let lines: &[&[u8]] = &[
        &[0x28, 0, 0, 0, 3, 0xe8, 0, 0, 0, 0],
        &[0x2a, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x2e, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x2f, 2, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    for cdb in lines {
        assert_eq!(decode(cdb, &UNIT), Ok(Command::Nothing), "{cdb:02x?}");
    }
}

#[test]
fn a_reserved_or_unsupported_bit_is_named_by_the_most_significant_bit_of_its_field() {
    // A CDB, and the byte and bit of the field that is wrong.
    let lines: &[(&[u8], u16, u8)] = &[
        (&[0x08, 0x20, 0, 0, 1, 0], 1, 7),
        (&[0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0], 1, 7),
        (&[0x28, 0xe0, 0, 0, 0, 0, 0, 0, 1, 0], 1, 7),
        (&[0x28, 0x04, 0, 0, 0, 0, 0, 0, 1, 0], 1, 2),
        (&[0x28, 0, 0, 0, 0, 0, 0x01, 0, 1, 0], 6, 4),
        (&[0x28, 0, 0, 0, 0, 0, 0x20, 0, 1, 0], 6, 5),
        (&[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0x04], 9, 2),
        (&[0x2e, 0x04, 0, 0, 0, 0, 0, 0, 1, 0], 1, 2),
        (&[0x2e, 0x06, 0, 0, 0, 0, 0, 0, 1, 0], 1, 2),
        (&[0x2f, 0x04, 0, 0, 0, 0, 0, 0, 1, 0], 1, 2),
        (&[0x2f, 0x20, 0, 0, 0, 0, 0, 0, 1, 0], 1, 7),
        (&[0x41, 0x10, 0, 0, 0, 0, 0, 0, 1, 0], 1, 4),
        (&[0x41, 0x04, 0, 0, 0, 0, 0, 0, 1, 0], 1, 2),
        (&[0x41, 0x02, 0, 0, 0, 0, 0, 0, 1, 0], 1, 1),
        (&[0x41, 0x01, 0, 0, 0, 0, 0, 0, 1, 0], 1, 0),
        (&[0x42, 0x01, 0, 0, 0, 0, 0, 0, 24, 0], 1, 0),
        (&[0x42, 0, 0, 0, 1, 0, 0, 0, 24, 0], 4, 0),
        (&[0x42, 0, 0, 0, 0, 0, 0x1f, 0, 24, 0], 6, 4),
        (&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x02, 0], 14, 4),
        (&[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 1, 0, 0], 12, 7),
        (&[0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x80], 15, 7),
        (&[0x93, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 1, 4),
        (&[0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x10, 0], 10, 4),
        (&[0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x04], 11, 2),
        (&[0x9e, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], 1, 4),
        (&[0x9e, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], 1, 7),
        (&[0x5f, 7, 0, 0, 0, 0, 0, 0, 24, 0], 1, 4),
        (&[0x12, 0x02, 0, 0, 36, 0], 1, 1),
    ];
    for &(cdb, byte, bit) in lines {
        assert_eq!(decode(cdb, &UNIT), Err(Sense::invalid_bit_in_cdb(byte, bit)), "{cdb:02x?}");
    }
}

#[test]
fn a_number_that_is_too_high_or_missing_is_named_by_its_first_byte() {
    let lines: &[(&[u8], u16)] = &[
        (&[0x2e, 0, 0, 0, 0, 0, 0, 0, 65, 0], 7),
        (&[0x2f, 2, 0, 0, 0, 0, 0, 0, 65, 0], 7),
        (&[0x41, 0, 0, 0, 0, 0, 0, 0, 0, 0], 7),
        (&[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 33, 0, 0], 13),
        (&[0x41, 0, 0, 0, 0, 0, 0, 0x03, 0x85, 0], 7),
        (&[0x93, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x03, 0x85, 0, 0], 10),
        (&[0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x03, 0x85, 0, 0], 10),
        (&[0xaf, 6, 0, 0, 0, 0, 0, 0, 0x03, 0x85, 0, 0], 6),
        (&[0x8e, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 65, 0, 0], 10),
        (&[0x93, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 10),
        (&[0xae, 0, 0, 0, 0, 0, 0, 0, 0, 65, 0, 0], 6),
        (&[0x28, 0, 0, 0, 0], 5),
        (&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 1], 10),
    ];
    for &(cdb, byte) in lines {
        assert_eq!(decode(cdb, &UNIT), Err(Sense::invalid_field_in_cdb(byte)), "{cdb:02x?}");
    }
}

#[test]
fn blocks_that_the_unit_does_not_have_are_refused_with_the_first_of_them() {
    let lines: &[(&[u8], u64)] = &[
        (&[0x08, 0x1f, 0xff, 0xff, 1, 0], 0x1f_ffff),
        (&[0x28, 0, 0, 0, 3, 0xe7, 0, 0, 2, 0], 1000),
        (&[0x28, 0, 0, 0, 3, 0xe8, 0, 0, 1, 0], 1000),
        (&[0x28, 0, 0, 0, 3, 0xe9, 0, 0, 0, 0], 1001),
        (&[0x2a, 0, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0], 0xffff_ffff),
        (&[0x2e, 0, 0, 0, 3, 0xe8, 0, 0, 1, 0], 1000),
        (&[0x2f, 0, 0, 0, 3, 0xe8, 0, 0, 1, 0], 1000),
        (&[0x35, 0, 0, 0, 3, 0xe8, 0, 0, 1, 0], 1000),
        (&[0x41, 0, 0, 0, 3, 0xe9, 0, 0, 0, 0], 1001),
        (&[0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0], u64::MAX),
        (&[0x89, 0, 0, 0, 0, 0, 0, 0, 3, 0xe7, 0, 0, 0, 2, 0, 0], 1000),
        (&[0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], 1000),
        (&[0x93, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 3, 0xe8, 0, 0], 1000),
        (&[0xaa, 0, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0], 0x8000_0000),
    ];
    for &(cdb, first) in lines {
        assert_eq!(decode(cdb, &UNIT), Err(Sense::lba_out_of_range(first)), "{cdb:02x?}");
    }
}

#[test]
fn a_unit_that_is_read_only_refuses_all_commands_that_change_data() {
    let unit = UnitView { read_only: true, ..UNIT };
    let refused =
        |cdb: &[u8]| decode(cdb, &unit).is_err_and(|sense| sense.code == AdditionalSense::WRITE_PROTECTED);
    for &(cdb, operation, ..) in BLOCK_COMMANDS {
        assert_eq!(refused(cdb), operation.changes_data(), "{cdb:02x?}");
    }
    assert!(refused(&[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]));
    assert!(!refused(&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn a_unit_without_write_cache_writes_to_the_media() {
    let unit = UnitView { least_durability: Durability::Media, ..UNIT };
    for &(cdb, operation, ..) in BLOCK_COMMANDS {
        let Ok(Command::Blocks(command)) = decode(cdb, &unit) else { panic!("{cdb:02x?}") };
        let expected = match operation {
            CACHE => MEDIA,
            COMPARE_WRITE => COMPARE_WRITE_MEDIA,
            SAME => Operation::Stepped(Stepped::WriteSame(WriteSame::Media)),
            SAME_UNMAP => Operation::Stepped(Stepped::WriteSame(WriteSame::UnmapMedia)),
            other => other,
        };
        assert_eq!(command.operation, expected, "{cdb:02x?}");
    }
}

#[test]
fn a_unit_that_cannot_deallocate_has_neither_unmap_nor_write_same_with_it() {
    let unit = UnitView { unmap_blocks_max: 0, ..UNIT };
    assert_eq!(decode(&[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], &unit), Err(Sense::invalid_opcode()));
    let same = [0x41, 0x08, 0, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(decode(&same, &unit), Err(Sense::invalid_bit_in_cdb(1, 3)));
}

#[test]
fn operation_codes_that_no_unit_has_are_refused() {
    for opcode in [0x01_u8, 0x04, 0x34, 0x3b, 0x7e, 0x7f, 0x83, 0x90, 0x9f, 0xa4, 0xc0, 0xff] {
        let mut cdb = [0; 32];
        cdb[0] = opcode;
        assert_eq!(decode(&cdb, &UNIT), Err(Sense::invalid_opcode()), "{opcode:02x}");
    }
    assert_eq!(decode(&[], &UNIT), Err(Sense::invalid_opcode()));
}

/// Parameter list with these descriptors.
fn list(descriptors: &[(u64, u32)]) -> Vec<u8> {
    let bytes = u16::try_from(descriptors.len() * 16).unwrap();
    let mut list = Vec::new();
    list.extend((bytes + 6).to_be_bytes());
    list.extend(bytes.to_be_bytes());
    list.extend([0; 4]);
    for (lba, blocks) in descriptors {
        list.extend(lba.to_be_bytes());
        list.extend(blocks.to_be_bytes());
        list.extend([0; 4]);
    }
    list
}

/// First blocks and numbers of blocks of the ranges.
fn ranges(list: &[u8], unit: &UnitView) -> Result<Vec<(u64, u32)>, Sense> {
    let command = UnmapCommand { list_bytes: u16::try_from(list.len()).unwrap() };
    let ranges = command.ranges(&list[..command.read_bytes()], unit)?;
    assert!(ranges.iter().all(|range| range.operation == Operation::Discard));
    Ok(ranges.iter().map(|range| (range.lba.0, range.blocks)).collect())
}

#[test]
fn the_descriptors_of_an_unmap_become_ranges_and_those_without_blocks_none() {
    assert_eq!(ranges(&list(&[]), &UNIT), Ok(vec![]));
    assert_eq!(ranges(&list(&[(5, 0), (1000, 0)]), &UNIT), Ok(vec![]));
    assert_eq!(ranges(&list(&[(0, 1000)]), &UNIT), Ok(vec![(0, 1000)]));
    assert_eq!(ranges(&list(&[(7, 3), (0, 0), (999, 1)]), &UNIT), Ok(vec![(7, 3), (999, 1)]));
    let most = vec![(1, 1); 256];
    assert_eq!(ranges(&list(&most), &UNIT), Ok(most));
}

#[test]
fn a_part_of_a_descriptor_at_the_end_of_an_unmap_is_ignored() {
    let mut partial = list(&[(1, 1), (2, 1)]);
    partial[3] = 31;
    assert_eq!(ranges(&partial, &UNIT), Ok(vec![(1, 1)]));
    partial[3] = 15;
    assert_eq!(ranges(&partial, &UNIT), Ok(vec![]));
}

#[test]
fn an_unmap_that_is_not_in_order_is_refused_as_a_whole() {
    let length = Sense::illegal_request(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
    let out = |first, at| Sense::lba_out_of_range(first).at(FieldPointer::parameters(at));
    let mut longer = list(&[(1, 1)]);
    longer[3] = 32;
    for (list, sense) in [
        (list(&[(1, 1)])[..23].to_vec(), length),
        (longer, length),
        (list(&vec![(1, 1); 257]), Sense::invalid_field_in_parameters(2)),
        (list(&[(1, 1), (999, 2)]), out(1000, 24)),
        (list(&[(1001, 0)]), out(1001, 8)),
        (list(&[(u64::MAX, u32::MAX)]), out(u64::MAX, 8)),
        (list(&[(0, 1000), (0, 1)]), Sense::invalid_field_in_parameters(32)),
    ] {
        assert_eq!(ranges(&list, &UNIT), Err(sense), "{list:02x?}");
    }
    for bytes in 1..8 {
        assert_eq!(decode(&[0x42, 0, 0, 0, 0, 0, 0, 0, bytes, 0], &UNIT), Err(length));
    }
    let command = UnmapCommand { list_bytes: u16::MAX };
    assert_eq!(command.ranges(&[], &UNIT), Err(length));
    let huge = UnitView { blocks: Blocks(u64::MAX), unmap_blocks_max: u32::MAX, ..UNIT };
    let overlapping = list(&[(0, u32::MAX), (0, 1)]);
    assert_eq!(ranges(&overlapping, &huge), Err(Sense::invalid_field_in_parameters(32)));
}

//! Status and sense data of commands that have ended.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::{Durability, Lba, Operation, Status, Stepped};
use luge_scsi::{BlockCommand, Ending, FieldPointer, Sense, SenseFormat};
use luge_spec::scsi::{AdditionalSense, ScsiStatus, SenseKey};
use rig::UNIT;

const WRITE: Operation = Operation::Write(Durability::Cache);

fn command(operation: Operation, blocks: u32) -> BlockCommand {
    BlockCommand { operation, lba: Lba(990), blocks, data_blocks: blocks }
}

/// Status, sense key and additional sense code of an ending.
fn parts(ending: Ending) -> [u16; 3] {
    let sense = ending.sense;
    let key = sense.map_or(0, |sense| sense.key.0);
    [ending.status.0.into(), key.into(), sense.map_or(0, |sense| sense.code.0)]
}

#[test]
fn each_status_of_a_volume_is_one_of_scsi() {
    for (status, operation, expected) in [
        (Status::Success, Operation::Read, [0x00, 0, 0]),
        (Status::OutOfRange, Operation::Read, [0x02, 0x5, 0x2100]),
        (Status::Invalid, Operation::Read, [0x02, 0x5, 0x2400]),
        (Status::Unsupported, Operation::Read, [0x02, 0x5, 0x2000]),
        (Status::WriteProtected, WRITE, [0x02, 0x7, 0x2700]),
        (Status::NoSpace, WRITE, [0x02, 0x7, 0x2707]),
        (Status::MediaError, Operation::Read, [0x02, 0x3, 0x1100]),
        (Status::MediaError, Operation::Verify, [0x02, 0x3, 0x1100]),
        (Status::MediaError, WRITE, [0x02, 0x3, 0x0c00]),
        (Status::DeviceError, WRITE, [0x02, 0xb, 0x4400]),
        (Status::Aborted, WRITE, [0x02, 0xb, 0x4400]),
        (Status::Gone, Operation::Read, [0x02, 0x5, 0x2500]),
        (Status::CompareFailed, Operation::Compare, [0x02, 0xe, 0x1d00]),
        (Status::ReservationConflict, WRITE, [0x18, 0, 0]),
    ] {
        let ending = command(operation, 8).ended(&UNIT, status, None);
        assert_eq!(parts(ending), expected, "{operation} {status:?}");
        assert_eq!(ending.sense.is_some(), ending.status == ScsiStatus::CHECK_CONDITION);
    }
}

#[test]
fn information_is_the_first_block_that_is_missing_or_the_block_that_is_lost() {
    let information =
        |command: BlockCommand, status| command.ended(&UNIT, status, None).sense.unwrap().information;
    assert_eq!(information(command(WRITE, 20), Status::OutOfRange), Some(1000));
    assert_eq!(information(command(Operation::Read, 1), Status::MediaError), Some(990));
    assert_eq!(information(command(Operation::Read, 2), Status::MediaError), None, "which is not known");
}

#[test]
fn information_of_a_comparison_is_the_offset_in_its_data() {
    let information = |operation, differs_at| {
        let ending = command(operation, 8).ended(&UNIT, Status::CompareFailed, differs_at);
        ending.sense.unwrap().information
    };
    let compare_and_write = Operation::CompareAndWrite(Durability::Media);
    assert_eq!(information(compare_and_write, Some(1027)), Some(1027));
    assert_eq!(information(Operation::Compare, Some(1027)), Some(1027));
    assert_eq!(information(Operation::Stepped(Stepped::CompareSame), Some(3)), Some(3));
    assert_eq!(information(Operation::Compare, None), None);
}

#[test]
fn fixed_sense_data_has_information_and_a_field_pointer() {
    let sense = Sense::lba_out_of_range(0x1234_5678).at(FieldPointer::cdb(2));
    let expected = [0xf0, 0, 5, 0x12, 0x34, 0x56, 0x78, 10, 0, 0, 0, 0, 0x21, 0, 0, 0xc0, 0, 2];
    assert_eq!(sense.to_bytes(SenseFormat::Fixed), expected);
    let field = Sense::invalid_bit_in_cdb(1, 4).to_bytes(SenseFormat::Fixed);
    assert_eq!(field, [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0xcc, 0, 1]);
    let list = Sense::invalid_field_in_parameters(0x0108).to_bytes(SenseFormat::Fixed);
    assert_eq!(list, [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x26, 0, 0, 0x80, 1, 8]);
}

#[test]
fn fixed_sense_data_without_room_for_the_information_says_so() {
    let bytes = Sense::lba_out_of_range(1 << 32).to_bytes(SenseFormat::Fixed);
    assert_eq!(bytes[0], 0x70, "VALID is zero");
    assert_eq!(bytes[3..7], [0; 4]);
}

#[test]
fn descriptor_sense_data_has_what_there_is_to_tell() {
    let nothing = Sense::new(SenseKey::ABORTED_COMMAND, AdditionalSense::INTERNAL_TARGET_FAILURE);
    assert_eq!(nothing.to_bytes(SenseFormat::Descriptor), [0x72, 0xb, 0x44, 0, 0, 0, 0, 0]);
    let out = Sense::lba_out_of_range(0x0102_0304_0506_0708).to_bytes(SenseFormat::Descriptor);
    let information = [0, 10, 0x80, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(out[..], [&[0x72, 5, 0x21, 0, 0, 0, 0, 12][..], &information].concat()[..]);
    let field = Sense::invalid_bit_in_cdb(9, 2).to_bytes(SenseFormat::Descriptor);
    assert_eq!(field, [0x72, 5, 0x24, 0, 0, 0, 0, 8, 2, 6, 0, 0, 0xca, 0, 9, 0]);
    let both = Sense::lba_out_of_range(7).at(FieldPointer::parameters(8));
    let both = both.to_bytes(SenseFormat::Descriptor);
    let expected = [0x72, 5, 0x21, 0, 0, 0, 0, 20, 0, 10, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    assert_eq!(both[..], [&expected[..], &[2, 6, 0, 0, 0x80, 0, 8, 0]].concat()[..]);
}

//! Answers of READ CAPACITY and GET LBA STATUS.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::Blocks;
use luge_scsi::{Sense, UnitView, get_lba_status, read_capacity_10, read_capacity_16};
use rig::UNIT;

const CAPACITY_10: [u8; 10] = [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn action(action: u8, lba: u64, allocation_length: u32) -> Vec<u8> {
    let (lba, length) = (lba.to_be_bytes(), allocation_length.to_be_bytes());
    [&[0x9e, action], &lba[..], &length, &[0, 0]].concat()
}

#[test]
fn read_capacity_10_tells_the_last_block_or_that_it_is_beyond_32_bits() {
    for (blocks, last) in [(1000, 999), (1 << 32, u32::MAX), ((1 << 32) + 5, u32::MAX)] {
        let unit = UnitView { blocks: Blocks(blocks), block_bytes: 4096, ..UNIT };
        let expected = [last.to_be_bytes(), 4096_u32.to_be_bytes()].concat();
        assert_eq!(read_capacity_10(&CAPACITY_10, &unit).unwrap()[..], expected[..], "{blocks}");
    }
}

#[test]
fn read_capacity_10_of_a_part_of_the_medium_is_that_of_all_of_it() {
    let mut cdb = CAPACITY_10;
    cdb[5] = 7;
    assert_eq!(read_capacity_10(&cdb, &UNIT), Err(Sense::invalid_field_in_cdb(2)));
    cdb[8] = 1;
    assert_eq!(read_capacity_10(&cdb, &UNIT), read_capacity_10(&CAPACITY_10, &UNIT));
}

#[test]
fn read_capacity_16_tells_the_last_block_and_whether_blocks_can_be_deallocated() {
    let mut expected = [999_u64.to_be_bytes().to_vec(), 512_u32.to_be_bytes().to_vec()].concat();
    expected.extend([0, 0, 0x80, 0]);
    expected.resize(32, 0);
    assert_eq!(read_capacity_16(&action(0x10, 0, u32::MAX), &UNIT).unwrap()[..], expected[..]);
    expected[14] = 0;
    let unit = UnitView { unmap_blocks_max: 0, ..UNIT };
    assert_eq!(read_capacity_16(&action(0x10, 0, 32), &unit).unwrap()[..], expected[..]);
}

#[test]
fn an_answer_is_cut_to_the_allocation_length() {
    let [capacity, status] = [(0x10, 32), (0x12, 24)].map(|(action_code, bytes)| {
        let answer = |length| match action_code {
            0x10 => read_capacity_16(&action(0x10, 0, length), &UNIT).unwrap(),
            _ => get_lba_status(&action(0x12, 5, length), &UNIT).unwrap(),
        };
        let whole = answer(u32::MAX);
        assert_eq!(whole.len(), bytes);
        (0..64).all(|length| answer(length) == whole[..bytes.min(length as usize)])
    });
    assert!(capacity);
    assert!(status);
}

#[test]
fn get_lba_status_says_mapped_of_all_blocks_from_the_first() {
    let expected =
        [&20_u32.to_be_bytes()[..], &[0; 4], &5_u64.to_be_bytes(), &995_u32.to_be_bytes(), &[0; 4]];
    assert_eq!(get_lba_status(&action(0x12, 5, 24), &UNIT).unwrap()[..], expected.concat()[..]);
    for lba in [1000, 1001, 1 << 63, u64::MAX] {
        assert_eq!(get_lba_status(&action(0x12, lba, 24), &UNIT), Err(Sense::lba_out_of_range(lba)));
    }
}

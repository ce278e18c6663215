//! Commands that other targets have been hurt by, or have answered wrongly, by public reports about them.

use crate::disk::{BLOCK, Disk};
use luge_block::doubles::{Fault, Faulty};
use luge_block::{Blocks, MemoryDevice, Shape, Status};
use luge_memory::{DmaSpace, PageSize};
use luge_scsi::{Ending, Sense, UnitView};
use luge_spec::scsi::{AdditionalSense, ScsiStatus, SenseKey};
use std::sync::Arc;

const BLOCKS: u64 = 3000;
const COUNT: usize = 3000;

fn disk() -> Disk {
    Disk::new(BLOCKS)
}

/// CDB of 16 bytes.
fn long(opcode: u8, flags: u8, lba: u64, length: u32) -> Vec<u8> {
    [&[opcode, flags], &lba.to_be_bytes()[..], &length.to_be_bytes(), &[0, 0]].concat()
}

fn sense(disk: &mut Disk, cdb: &[u8], data_out: &[u8]) -> Sense {
    let ending = disk.send(cdb, data_out).ending;
    assert_eq!(ending.status, ScsiStatus::CHECK_CONDITION, "{cdb:02x?}");
    ending.sense.unwrap()
}

/// Content that differs from block to block.
fn filled() -> Disk {
    let mut disk = disk();
    let bytes = (1_u8..=250).cycle().take(COUNT);
    let content: Vec<u8> = bytes.flat_map(|byte| [byte; BLOCK]).collect();
    assert_eq!(disk.send(&long(0x8a, 0, 0, 3000), &content).ending, Ending::GOOD);
    disk
}

#[test]
fn a_write_same_without_blocks_writes_nothing_anywhere() {
    let mut disk = filled();
    let before = disk.content();
    for cdb in [
        long(0x93, 0, 0, 0),
        long(0x93, 8, 0, 0),
        long(0x93, 1, 10, 0),
        vec![0x41, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        assert_eq!(sense(&mut disk, &cdb, &[0; BLOCK]).code, AdditionalSense::INVALID_FIELD_IN_CDB);
    }
    assert!(disk.content() == before);
}

#[test]
fn a_write_same_of_all_blocks_needs_one_block_of_data() {
    let mut disk = filled();
    assert_eq!(disk.send(&long(0x93, 0, 1, 2999), &[9; BLOCK]).ending, Ending::GOOD);
    let content = disk.content();
    assert!(content[..BLOCK].iter().all(|&byte| byte == 1));
    assert!(content[BLOCK..].iter().all(|&byte| byte == 9));
    assert_eq!(disk.send(&long(0x93, 8, 0, 3000), &[0; BLOCK]).ending, Ending::GOOD);
    assert!(disk.content().iter().all(|&byte| byte == 0));
}

#[test]
fn a_write_same_whose_blocks_wrap_around_is_out_of_range() {
    let mut disk = filled();
    for (lba, length) in [(u64::MAX, 2), (u64::MAX, u32::MAX), (2999, u32::MAX), (1 << 63, 1)] {
        for flags in [0, 1, 8, 9] {
            let sense = sense(&mut disk, &long(0x93, flags, lba, length), &[0; BLOCK]);
            assert_eq!(sense, Sense::lba_out_of_range(lba.max(BLOCKS)));
        }
    }
}

#[test]
fn an_unmap_with_one_wrong_descriptor_unmaps_nothing() {
    let mut disk = filled();
    let before = disk.content();
    let mut list = vec![0, 38, 0, 32, 0, 0, 0, 0];
    for (lba, blocks) in [(0_u64, 10_u32), (2999, 2)] {
        list.extend(lba.to_be_bytes());
        list.extend(blocks.to_be_bytes());
        list.extend([0; 4]);
    }
    let unmap = [0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0];
    assert_eq!(sense(&mut disk, &unmap, &list).code, AdditionalSense::LBA_OUT_OF_RANGE);
    assert!(disk.content() == before);
}

#[test]
fn an_unmap_whose_descriptors_are_no_multiple_of_16_bytes_unmaps_the_whole_ones() {
    let mut disk = filled();
    let mut list = vec![0, 37, 0, 31, 0, 0, 0, 0];
    for lba in [3_u64, 5] {
        list.extend(lba.to_be_bytes());
        list.extend(1_u32.to_be_bytes());
        list.extend([0; 4]);
    }
    let before = disk.content();
    assert_eq!(disk.send(&[0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0], &list).ending, Ending::GOOD);
    let after = disk.content();
    assert!(after[3 * BLOCK..4 * BLOCK].iter().all(|&byte| byte == 0));
    assert!(after[4 * BLOCK..] == before[4 * BLOCK..], "the second descriptor is not whole");
}

#[test]
fn a_compare_and_write_of_no_blocks_succeeds_and_one_of_too_many_is_refused() {
    let mut disk = filled();
    let before = disk.content();
    assert_eq!(disk.send(&long(0x89, 0, 0, 0), &[]).ending, Ending::GOOD);
    let most = u32::from(disk.view.compare_and_write_blocks_max);
    let refused = sense(&mut disk, &long(0x89, 0, 0, most + 1), &vec![1; 512 * BLOCK]);
    assert_eq!(refused, Sense::invalid_field_in_cdb(13));
    let many = sense(&mut disk, &long(0x89, 0, 0, 0x100 + 1), &[1; 2 * BLOCK]);
    assert_eq!(many, Sense::invalid_bit_in_cdb(12, 0), "reserved bits are no number of blocks");
    assert!(disk.content() == before);
}

#[test]
fn a_compare_and_write_that_differs_in_its_last_byte_writes_nothing_and_tells_the_byte() {
    let mut disk = filled();
    let before = disk.content();
    let mut data = before[..2 * BLOCK].to_vec();
    data[2 * BLOCK - 1] ^= 1;
    data.extend([7; 2 * BLOCK]);
    let found = sense(&mut disk, &long(0x89, 0, 0, 2), &data);
    assert_eq!(found.key, SenseKey::MISCOMPARE);
    assert_eq!(found.information, Some(2 * BLOCK as u64 - 1));
    assert!(disk.content() == before);
    data[2 * BLOCK - 1] ^= 1;
    assert_eq!(disk.send(&long(0x89, 8, 0, 2), &data).ending, Ending::GOOD);
    assert!(disk.content()[..2 * BLOCK].iter().all(|&byte| byte == 7));
}

#[test]
fn a_verify_with_data_is_not_done_without_it() {
    let mut disk = filled();
    for cdb in [long(0x8f, 2, 0, 4), vec![0x2f, 2, 0, 0, 0, 0, 0, 0, 4, 0]] {
        assert!(disk.try_send(&cdb, &[1; 4 * BLOCK - 1]).is_none());
        assert!(disk.try_send(&cdb, &[]).is_none());
    }
    assert!(disk.try_send(&long(0x8f, 6, 0, 4), &[1; BLOCK - 1]).is_none());
    let found = sense(&mut disk, &long(0x8f, 6, 0, 4), &[1; BLOCK]);
    assert_eq!(found.key, SenseKey::MISCOMPARE);
    assert_eq!(disk.send(&long(0x8f, 6, 0, 1), &[1; BLOCK]).ending, Ending::GOOD);
    assert_eq!(disk.send(&long(0x8f, 0, 0, 3000), &[]).ending, Ending::GOOD);
}

#[test]
fn lengths_over_the_maximum_are_refused_and_reads_and_writes_have_none() {
    let mut disk = filled();
    disk.view = UnitView { verify_data_blocks_max: 1000, ..disk.view };
    let data = vec![3; COUNT * BLOCK];
    for (cdb, at) in
        [(long(0x8f, 2, 0, 1001), 10), (long(0x8e, 0, 0, 1001), 10), (long(0x8e, 2, 0, 3000), 10)]
    {
        assert_eq!(sense(&mut disk, &cdb, &data), Sense::invalid_field_in_cdb(at));
    }
    assert_eq!(disk.send(&long(0x8a, 0, 0, 3000), &data).ending, Ending::GOOD);
    assert!(disk.send(&long(0x88, 0, 0, 3000), &[]).data_in == data);
}

#[test]
fn a_cdb_that_is_shorter_than_its_operation_code_says_is_refused() {
    let mut disk = filled();
    let before = disk.content();
    for cdb in [long(0x93, 1, 0, 3000), long(0x8a, 0, 0, 1), vec![0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]] {
        for length in 1..cdb.len() {
            let refused = sense(&mut disk, &cdb[..length], &[0; BLOCK]);
            assert_eq!(refused.code, AdditionalSense::INVALID_FIELD_IN_CDB, "{length} bytes of {cdb:02x?}");
        }
    }
    assert!(disk.content() == before);
}

#[test]
fn read_6_and_write_6_without_a_length_are_of_256_blocks() {
    let mut disk = filled();
    assert_eq!(disk.send(&[0x08, 0, 0, 5, 0, 0], &[]).data_in.len(), 256 * BLOCK);
    assert_eq!(disk.send(&[0x0a, 0, 0, 5, 0, 0], &vec![0; 256 * BLOCK]).ending, Ending::GOOD);
    let content = disk.content();
    assert!(content[5 * BLOCK..261 * BLOCK].iter().all(|&byte| byte == 0));
    assert!(content[261 * BLOCK..262 * BLOCK].iter().all(|&byte| byte != 0));
}

#[test]
fn a_media_error_is_never_a_success_and_tells_the_block_of_a_short_command() {
    let shape = Shape::new(512, Blocks(BLOCKS)).unwrap();
    let memory = MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap();
    let fault = Fault { blocks: 100..101, per_mille: 1000, status: Status::MediaError };
    let mut disk = Disk::on(Arc::new(Faulty::new(Arc::new(memory), 1, &[fault])));
    let data = vec![0; 64 * BLOCK];
    for cdb in [
        long(0x88, 0, 90, 20),
        long(0x8a, 0, 90, 20),
        long(0x8e, 0, 90, 20),
        long(0x8e, 2, 90, 20),
        long(0x8f, 0, 90, 20),
        long(0x8f, 2, 90, 20),
        long(0x8f, 6, 90, 20),
        long(0x89, 0, 90, 20),
        long(0x93, 0, 90, 20),
        long(0x93, 1, 0, 3000),
        long(0x93, 8, 0, 3000),
    ] {
        let found = sense(&mut disk, &cdb, &data);
        assert_eq!(found.key, SenseKey::MEDIUM_ERROR, "{cdb:02x?}");
        assert_eq!(found.information, None);
    }
    let found = sense(&mut disk, &long(0x88, 0, 100, 1), &[]);
    assert_eq!(found.information, Some(100));
}

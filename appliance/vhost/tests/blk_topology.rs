//! Hints to a guest about the blocks that are best for its disk: all agree, or there is none.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::{Blocks, Geometry};
use luge_spec::virtio::blk::Config;
use luge_vhost::{Access, BlkDisk};
use zerocopy::FromBytes;

/// Limits that Linux derives from the configuration, in bytes (`/sys/block/vda/queue`).
#[derive(Debug, PartialEq, Eq)]
struct Topology {
    logical: u32,
    physical: u32,
    minimum: u32,
    optimal: u32,
    discard: u32,
}

fn topology(block_bytes: u32, optimal_blocks: u32) -> Topology {
    let geometry = Geometry { block_bytes, optimal_blocks, blocks: Blocks(1 << 20), ..Geometry::for_tests() };
    let bytes = BlkDisk::new(geometry, Access::ReadWrite, "", 1).config(0, 72);
    let config = Config::read_from_bytes(&bytes).unwrap();
    assert_eq!(config.alignment_offset, 0, "the first block is aligned");
    let logical = config.blk_size.get();
    let physical = logical << config.physical_block_exp;
    Topology {
        logical,
        physical,
        // What is not told is that of a physical block.
        minimum: physical.max(logical * u32::from(config.min_io_size.get())),
        optimal: logical * config.opt_io_size.get(),
        discard: config.discard_sector_alignment.get() * 512,
    }
}

fn trivial(block_bytes: u32) -> Topology {
    let [logical, physical, minimum, discard] = [block_bytes; 4];
    Topology { logical, physical, minimum, optimal: 0, discard }
}

#[test]
fn a_disk_of_short_blocks_that_is_best_used_by_the_page_has_physical_blocks_of_a_page() {
    let page = Topology { logical: 512, physical: 4096, minimum: 4096, optimal: 4096, discard: 4096 };
    assert_eq!(topology(512, 8), page);
}

#[test]
fn a_disk_that_is_best_used_in_several_pages_says_so_in_all_its_hints() {
    for (block_bytes, optimal_blocks) in [(512, 256), (512, 192), (4096, 32), (4096, 3), (65536, 2)] {
        let best = block_bytes * optimal_blocks;
        let physical = block_bytes.max(4096);
        let expected =
            Topology { logical: block_bytes, physical, minimum: best, optimal: best, discard: best };
        assert_eq!(topology(block_bytes, optimal_blocks), expected);
    }
}

#[test]
fn a_disk_that_is_as_good_by_the_block_gives_no_hint() {
    for block_bytes in [512, 1024, 4096, 65536] {
        assert_eq!(topology(block_bytes, 1), trivial(block_bytes));
    }
}

#[test]
fn what_is_no_number_of_pages_or_cannot_be_said_is_no_hint() {
    let odd = [(512, 3), (512, 7), (512, 12), (1024, 2), (512, 1 << 16), (512, u32::MAX), (4096, u32::MAX)];
    for (block_bytes, optimal_blocks) in odd {
        assert_eq!(topology(block_bytes, optimal_blocks), trivial(block_bytes), "{optimal_blocks} blocks");
    }
}

#[test]
fn every_size_is_a_multiple_of_the_next_smaller_one() {
    for block_bytes in [512, 1024, 2048, 4096, 8192, 65536] {
        for optimal_blocks in 1..300 {
            let told = topology(block_bytes, optimal_blocks);
            assert!(told.physical.is_multiple_of(told.logical), "{told:?}");
            assert!(told.physical.is_power_of_two(), "{told:?}");
            assert!(told.minimum.is_multiple_of(told.physical), "{told:?}");
            assert!(told.optimal.is_multiple_of(told.minimum), "{told:?}");
            assert!(told.discard.is_multiple_of(told.physical), "{told:?}");
            // `mkfs.xfs` takes the minimum for a stripe's unit, unless it is that of a physical block.
            assert!(told.optimal > 0 || told.minimum == told.physical, "{told:?}");
        }
    }
}

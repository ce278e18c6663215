//! Discards and zeroes: ranges of any length, on devices with any limit.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Scripted;
use luge_block::{Blocks, Geometry, NullDevice, Operation, Shape, Status};
use luge_core::Session;
use luge_spec::virtio::blk::{Config, RequestType};
use luge_vhost::{Access, BlkDisk};
use rig::scripted::{IOERR, OK, asked, ended, memory_disk, scripted, scripted_with};
use rig::{Answer, Ask, Bench, Sent, Setup, blocks_of_4096};
use std::sync::Arc;
use zerocopy::FromBytes;

const DISCARD: RequestType = RequestType::DISCARD;
const WRITE_ZEROES: RequestType = RequestType::WRITE_ZEROES;

/// Devices with blocks of 512 bytes and of 4 KiB that take `most` blocks of a range at once.
fn limited(most: u32) -> [Geometry; 2] {
    let limited = |geometry| Geometry { discard_blocks_max: most, write_zeroes_blocks_max: most, ..geometry };
    [limited(Geometry::for_tests()), limited(blocks_of_4096())]
}

/// A disk of 2^33 blocks of 512 bytes that takes a mebibyte at once.
fn vast() -> Geometry {
    Geometry { blocks: Blocks(1 << 33), ..limited(2048)[0] }
}

fn sectors_per_block(geometry: &Geometry) -> u32 {
    geometry.block_bytes / 512
}

impl Bench {
    /// Ends every part with `status` until the request is answered. Returns the answer, the number of
    /// parts and the most that were in flight at once.
    fn end_parts(&mut self, device: &Scripted, sent: &Sent, status: Status) -> (Answer, usize, usize) {
        let (mut parts, mut most) = (0, 0);
        loop {
            self.turn();
            let ended = device.complete_all(status);
            (parts, most) = (parts + ended, most.max(ended));
            self.turn();
            if let Some(answer) = self.take_answer(sent) {
                return (answer, parts, most);
            }
            assert!(ended > 0, "nothing is in flight, and the request is not answered");
        }
    }
}

#[test]
fn a_range_longer_than_the_device_takes_goes_in_parts_that_fit() {
    for geometry in limited(16) {
        for (kind, flags, operation) in [
            (DISCARD, 0, Operation::Discard),
            (WRITE_ZEROES, 0, Operation::WriteZeroes),
            (WRITE_ZEROES, 1, Operation::WriteZeroesUnmap),
        ] {
            let (mut bench, device) = scripted(geometry);
            let unit = sectors_per_block(&geometry);
            let range = (u64::from(10 * unit), 40 * unit, flags);
            let sent = bench.send(&Ask::ranges(kind, &[range, (0, unit, flags)]));
            bench.turn();
            let parts = [(operation, 10, 16), (operation, 26, 16), (operation, 42, 8), (operation, 0, 1)];
            assert_eq!(asked(&device), parts);
            device.complete_all(Status::Success);
            bench.turn();
            assert_eq!(bench.take_answer(&sent), Some(ended(OK)));
        }
    }
}

#[test]
fn a_range_goes_block_by_block_where_the_device_takes_no_more() {
    for geometry in limited(1) {
        let (mut bench, device) = scripted(geometry);
        let unit = sectors_per_block(&geometry);
        let sent = bench.send(&Ask::ranges(DISCARD, &[(0, 1024 * unit, 0)]));
        let (answer, parts, _) = bench.end_parts(&device, &sent, Status::Success);
        assert_eq!(answer, ended(OK));
        assert_eq!(parts, 1024);
    }
}

#[test]
fn a_whole_disk_of_any_device_is_zeroed_by_one_range() {
    for block_bytes in [512, 4096] {
        for kind in [DISCARD, WRITE_ZEROES] {
            let sectors = 8 << 11;
            let mut bench = Bench::new(memory_disk(block_bytes, 8 * (1 << 20) / u64::from(block_bytes)));
            for sector in [0, 5000 / 8 * 8, u64::from(sectors) - 8] {
                assert_eq!(bench.ask(&Ask::write(sector, &[0xee; 4096])), ended(OK));
            }
            assert_eq!(bench.ask(&Ask::ranges(kind, &[(0, sectors, 0)])), ended(OK));
            for sector in [0, 5000 / 8 * 8, u64::from(sectors) - 8] {
                assert_eq!(bench.ask(&Ask::read(sector, 4096)).data, [0; 4096], "sector {sector}");
            }
        }
    }
}

#[test]
fn a_range_of_all_sectors_that_a_guest_can_say_ends_with_no_more_in_flight_than_there_is_room() {
    let (mut bench, device) = scripted_with(vast(), 20, Setup::default());
    let sent = bench.send(&Ask::ranges(WRITE_ZEROES, &[(0, u32::MAX, 0)]));
    let (answer, parts, most) = bench.end_parts(&device, &sent, Status::Success);
    assert_eq!(answer, ended(OK));
    assert_eq!(parts, 1 << 21);
    assert_eq!(most, 20);
    assert_eq!(bench.session.in_flight(), 0);
}

#[test]
fn ranges_of_all_sectors_cost_a_null_disk_nothing() {
    let shape = Shape::new(512, Blocks(1 << 38)).unwrap();
    let mut bench = Bench::new(Arc::new(NullDevice::new(shape)));
    let ranges: Vec<_> = (0..32).map(|n| (n << 32, u32::MAX, 0)).collect();
    for kind in [DISCARD, WRITE_ZEROES] {
        let sent = bench.send(&Ask::ranges(kind, &ranges));
        let mut answer = None;
        let turns = (1..).find(|_| {
            bench.turn();
            answer = bench.take_answer(&sent);
            answer.is_some()
        });
        assert_eq!(answer, Some(ended(OK)));
        assert!(turns.unwrap() <= 1000, "{turns:?} turns");
    }
}

#[test]
fn a_turn_submits_a_bounded_number_of_parts() {
    let (mut bench, device) = scripted_with(limited(1)[0], 1000, Setup::default());
    bench.send(&Ask::ranges(DISCARD, &[(0, 1000, 0)]));
    bench.turn();
    let first = asked(&device).len();
    assert!((16..64).contains(&first), "{first} parts in one turn");
}

#[test]
fn a_request_behind_a_long_range_is_served_while_that_goes_on() {
    let (mut bench, device) = scripted_with(limited(1)[0], 8, Setup::default());
    let range = bench.send(&Ask::ranges(DISCARD, &[(0, 1000, 0)]));
    bench.turn();
    let read = bench.send(&Ask::read(0, 512));
    let served = (0..10).find_map(|_| {
        device.complete_all(Status::Success);
        bench.turn();
        bench.take_answer(&read)
    });
    assert_eq!(served.map(|answer| answer.status), Some(OK), "the read is answered, the range goes on");
    let (answer, ..) = bench.end_parts(&device, &range, Status::Success);
    assert_eq!(answer, ended(OK));
}

#[test]
fn a_range_of_which_a_part_fails_fails_and_no_more_of_it_is_submitted() {
    let (mut bench, device) = scripted_with(vast(), 8, Setup::default());
    let sent = bench.send(&Ask::ranges(WRITE_ZEROES, &[(0, u32::MAX, 0)]));
    bench.turn();
    let tag = device.taken()[0].tag;
    assert!(device.complete(tag, Status::Success));
    assert!(device.complete(tag, Status::MediaError));
    bench.turn();
    assert_eq!(bench.take_answer(&sent), None, "parts are in flight");
    let (answer, parts, _) = bench.end_parts(&device, &sent, Status::Success);
    assert_eq!(answer, ended(IOERR));
    assert!(parts <= 8, "{parts} parts were ended after the failure");
    assert_eq!(bench.stats.read().failed, 1, "what was never submitted has not failed");
    assert_eq!(bench.session.in_flight(), 0);
    assert_eq!(bench.stats.outstanding(), 0);
}

#[test]
fn a_session_that_is_to_leave_submits_the_rest_of_its_range() {
    let (mut bench, device) = scripted_with(limited(1)[0], 8, Setup::default());
    let sent = bench.send(&Ask::ranges(DISCARD, &[(0, 100, 0)]));
    bench.turn();
    bench.session.quiesce();
    let (answer, parts, _) = bench.end_parts(&device, &sent, Status::Success);
    assert_eq!(answer, ended(OK));
    assert_eq!(parts, 100);
}

#[test]
fn ranges_off_the_disk_or_not_of_whole_blocks_touch_nothing_however_long_they_are() {
    for geometry in limited(1) {
        let (mut bench, device) = scripted(geometry);
        let end = 1024 * sectors_per_block(&geometry);
        let wrong = [(0, end + 8), (8, end), (u64::from(end), 8), (u64::MAX, u32::MAX), (0, u32::MAX)];
        for (sector, sectors) in wrong {
            for kind in [DISCARD, WRITE_ZEROES] {
                let answer = bench.ask(&Ask::ranges(kind, &[(0, 8, 0), (sector, sectors, 0)]));
                assert_eq!(answer, ended(IOERR), "{sectors} sectors from {sector}");
            }
        }
        assert!(device.taken().is_empty());
    }
    let (mut bench, device) = scripted(blocks_of_4096());
    for (sector, sectors) in [(0, 1025), (1, 1024), (4, 1024)] {
        let answer = bench.ask(&Ask::ranges(DISCARD, &[(sector, sectors, 0)]));
        assert_eq!(answer, ended(IOERR), "{sectors} sectors from {sector}");
    }
    assert!(device.taken().is_empty());
}

#[test]
fn ranges_that_are_longer_together_than_the_disk_are_refused() {
    let (mut bench, device) = scripted(limited(16)[0]);
    let twice = Ask::ranges(WRITE_ZEROES, &[(0, 1024, 0), (0, 1, 0)]);
    assert_eq!(bench.ask(&twice), ended(IOERR));
    assert!(device.taken().is_empty());
    let once = bench.send(&Ask::ranges(WRITE_ZEROES, &[(0, 1023, 0), (0, 1, 0)]));
    let (answer, ..) = bench.end_parts(&device, &once, Status::Success);
    assert_eq!(answer, ended(OK));
}

#[test]
fn a_driver_is_told_the_longest_range_that_it_can_say() {
    for (geometry, most) in limited(1).into_iter().zip([u32::MAX, u32::MAX - 7]) {
        let bytes = BlkDisk::new(geometry, Access::ReadWrite, "", 1).config(0, 72);
        let config = Config::read_from_bytes(&bytes).unwrap();
        assert_eq!(config.max_discard_sectors.get(), most);
        assert_eq!(config.max_write_zeroes_sectors.get(), most);
    }
}

//! LOG SENSE.

use super::rig::{World, be64};
use luge_scsi::Sense;

/// LOG SENSE of cumulative values.
fn log(page: u8, subpage: u8) -> [u8; 10] {
    [0x4d, 0, 0x40 | page, subpage, 0, 0, 0, 1, 0, 0]
}

#[test]
fn the_pages_that_are_listed_are_those_that_there_are() {
    let host = World::new().host("a");
    assert_eq!(host.data(&log(0, 0)), [0x00, 0, 0, 4, 0x00, 0x02, 0x03, 0x2f]);
    let subpages = [0x00, 0, 0x00, 0xff, 0x02, 0, 0x03, 0, 0x2f, 0];
    assert_eq!(host.data(&log(0, 0xff)), [&[0x40, 0xff, 0, 10][..], &subpages].concat());
    for page in 0..0x40 {
        if [0x00, 0x02, 0x03, 0x2f].contains(&page) {
            assert_eq!(host.data(&log(page, 0))[0], page);
        } else {
            assert_eq!(host.refused(&log(page, 0), &[]), Sense::invalid_bit_in_cdb(2, 5), "page {page:02x}");
        }
    }
    assert_eq!(host.refused(&log(0x02, 1), &[]), Sense::invalid_field_in_cdb(3));
    assert_eq!(host.refused(&log(0x02, 0xff), &[]), Sense::invalid_field_in_cdb(3));
}

#[test]
fn counters_are_those_of_the_volume() {
    let world = World::new();
    let host = world.host("a");
    let page = host.data(&log(0x02, 0));
    assert_eq!(page[..8], [0x02, 0, 0, 12, 0, 5, 0x02, 8]);
    assert_eq!(be64(&page, 8), 0);
    assert_eq!(host.data(&log(0x2f, 0)), [0x2f, 0, 0, 8, 0, 0, 0x03, 4, 0, 0, 0xff, 0]);
}

#[test]
fn the_parameter_pointer_skips_parameters_and_must_leave_one() {
    let host = World::new().host("a");
    let from = |page: u8, first: u8| [0x4d, 0, 0x40 | page, 0, 0, 0, first, 1, 0, 0];
    assert_eq!(host.data(&from(0x02, 5)), host.data(&log(0x02, 0)));
    assert_eq!(host.refused(&from(0x02, 6), &[]), Sense::invalid_field_in_cdb(5));
    assert_eq!(host.refused(&from(0x00, 1), &[]), Sense::invalid_field_in_cdb(5));
    assert_eq!(host.refused(&from(0x2f, 1), &[]), Sense::invalid_field_in_cdb(5));
}

#[test]
fn nothing_is_saved_and_there_are_no_thresholds() {
    let host = World::new().host("a");
    assert_eq!(host.refused(&[0x4d, 1, 0x42, 0, 0, 0, 0, 1, 0, 0], &[]), Sense::invalid_bit_in_cdb(1, 0));
    for control in [0x00, 0x80, 0xc0] {
        let cdb = [0x4d, 0, control | 0x02, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(host.refused(&cdb, &[]), Sense::invalid_bit_in_cdb(2, 7), "PC {control:02x}");
        host.data(&[0x4d, 0, control, 0, 0, 0, 0, 1, 0, 0]);
    }
}

#[test]
fn the_length_is_true_whatever_the_allocation_length() {
    let host = World::new().host("a");
    let whole = host.data(&log(0x03, 0));
    for allocation_length in 0..=20 {
        let part = host.data(&[0x4d, 0, 0x43, 0, 0, 0, 0, 0, allocation_length, 0]);
        assert_eq!(part, whole[..whole.len().min(allocation_length.into())]);
    }
}

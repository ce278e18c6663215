//! REPORT LUNS, REPORT SUPPORTED OPERATION CODES, REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS.

use super::rig::{LUNS, World, be16, be32};
use luge_block::Geometry;
use luge_scsi::{CATALOG, Ending, Sense};

fn luns(select: u8, allocation_length: u8) -> [u8; 12] {
    [0xa0, 0, select, 0, 0, 0, 0, 0, 0, allocation_length, 0, 0]
}

/// REPORT SUPPORTED OPERATION CODES.
fn codes(options: u8, opcode: u8, action: u8) -> [u8; 12] {
    [0xa3, 0x0c, options, opcode, 0, action, 0, 0, 0xff, 0xff, 0, 0]
}

#[test]
fn luns_are_reported_as_they_are_selected() {
    let host = World::new().host("a");
    let ordinary: Vec<u8> = LUNS.iter().flat_map(|&lun| [0, lun, 0, 0, 0, 0, 0, 0]).collect();
    let well_known = [0xc1, 0x01, 0, 0, 0, 0, 0, 0];
    assert_eq!(host.data(&luns(0, 255)), [&[0, 0, 0, 24, 0, 0, 0, 0][..], &ordinary].concat());
    assert_eq!(host.data(&luns(1, 255)), [&[0, 0, 0, 8, 0, 0, 0, 0][..], &well_known].concat());
    assert_eq!(host.data(&luns(2, 255)), [&[0, 0, 0, 32, 0, 0, 0, 0][..], &ordinary, &well_known].concat());
    for select in 3..=u8::MAX {
        assert_eq!(host.refused(&luns(select, 255), &[]), Sense::invalid_field_in_cdb(2), "{select:02x}");
    }
}

#[test]
fn the_list_of_luns_says_its_true_length_whatever_the_allocation_length() {
    let host = World::new().host("a");
    let whole = host.data(&luns(0, 255));
    for allocation_length in 0..=40 {
        let part = host.data(&luns(0, allocation_length));
        assert_eq!(part, whole[..whole.len().min(allocation_length.into())]);
    }
}

#[test]
fn all_commands_are_reported_with_the_lengths_of_their_cdbs() {
    let host = World::new().host("a");
    let report = host.data(&codes(0, 0, 0));
    assert_eq!(be32(&report, 0) as usize, report.len() - 4);
    let list: Vec<&[u8]> = report[4..].chunks(8).collect();
    assert_eq!(list.len(), CATALOG.len());
    for (descriptor, entry) in list.iter().zip(CATALOG) {
        assert_eq!(descriptor[0], entry.opcode().0);
        assert_eq!(be16(descriptor, 2), entry.service_action.map_or(0, |action| action.0.into()));
        assert_eq!(descriptor[5], u8::from(entry.service_action.is_some()));
        assert_eq!(usize::from(be16(descriptor, 6)), entry.usage.len());
    }
    let with_timeouts = host.data(&codes(0x80, 0, 0));
    assert_eq!(with_timeouts.len(), 4 + 20 * CATALOG.len());
    assert_eq!(with_timeouts[4 + 5] & 2, 2, "CTDP");
    assert_eq!(with_timeouts[12..14], [0, 10]);
}

#[test]
fn each_command_is_found_alone_with_its_usage_data() {
    let host = World::new().host("a");
    for entry in CATALOG {
        let action = entry.service_action.map_or(0, |action| action.0);
        let own = if entry.service_action.is_some() { 2 } else { 1 };
        for options in [own, 3, 0x80 | own] {
            let report = host.data(&codes(options, entry.opcode().0, action));
            let length = entry.usage.len();
            assert_eq!(report[1] & 7, 3, "{entry:?}");
            assert_eq!(usize::from(be16(&report, 2)), length);
            assert_eq!(&report[4..4 + length], entry.usage, "{entry:?}");
            assert_eq!(report.len(), 4 + length + if options & 0x80 == 0 { 0 } else { 12 });
            assert_eq!(report[1] & 0x80, options & 0x80, "CTDP");
        }
        let wrong = host.refused(&codes(3 - own, entry.opcode().0, action), &[]);
        assert_eq!(wrong, Sense::invalid_bit_in_cdb(2, 2), "{entry:?}");
    }
}

#[test]
fn commands_that_are_not_there_are_not_supported() {
    let host = World::new().host("a");
    for cdb in [codes(1, 0x04, 0), codes(2, 0x5e, 9), codes(3, 0x5f, 7), codes(3, 0x00, 1), codes(2, 0xff, 0)]
    {
        assert_eq!(host.data(&cdb), [0, 1, 0, 0], "{cdb:02x?}");
    }
    for options in 4..8 {
        assert_eq!(host.refused(&codes(options, 0, 0), &[]), Sense::invalid_bit_in_cdb(2, 2));
    }
    let without = World::of(Geometry { discard_blocks_max: 0, ..Geometry::for_tests() }).host("a");
    assert_eq!(without.data(&codes(1, 0x42, 0)), [0, 1, 0, 0], "UNMAP");
    assert_eq!(without.data(&codes(0, 0, 0)).len(), 4 + 8 * (CATALOG.len() - 1));
}

/// Reports without a reservation conflict or a unit attention: whatever is listed is not refused as unknown.
#[test]
fn what_is_reported_is_served() {
    let host = World::new().host("a");
    for entry in CATALOG {
        let mut cdb = vec![0; entry.usage.len()];
        cdb[0] = entry.opcode().0;
        cdb[1] = entry.service_action.map_or(0, |action| action.0);
        if let luge_scsi::Reply::Done(answer) = host.reply(&cdb, &[]) {
            let sense = answer.ending.sense;
            assert!(sense != Some(Sense::invalid_opcode()), "{entry:?}");
            assert!(
                sense != Some(Sense::invalid_bit_in_cdb(1, 4)) || cdb[0] == 0x15 || cdb[0] == 0x55,
                "{entry:?}"
            );
        }
    }
}

#[test]
fn task_management_functions_are_those_of_the_adapter() {
    let host = World::new().host("a");
    let report = |options, length| host.data(&[0xa3, 0x0d, options, 0, 0, 0, 0, 0, 0, length, 0, 0]);
    assert_eq!(report(0, 255), [0xd9, 0x03, 0, 0], "all but CLEAR ACA and QUERY ASYNCHRONOUS EVENT");
    assert_eq!(report(0x80, 255), [&[0xd9, 0x03, 0, 12][..], &[0; 12]].concat());
    assert_eq!(report(0x80, 3), [0xd9, 0x03, 0]);
    assert_eq!(host.send(&[0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]).ending, Ending::GOOD);
}

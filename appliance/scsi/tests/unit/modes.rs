//! MODE SENSE and MODE SELECT.

use super::rig::{Host, TEST_UNIT_READY, World, be16, be32};
use luge_block::{Durability, Geometry};
use luge_scsi::{Sense, SenseFormat};
use luge_spec::scsi::AdditionalSense;

const LENGTH_ERROR: Sense = Sense::illegal_request(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
const CACHING: [u8; 20] = [0x08, 0x12, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const CONTROL: [u8; 12] = [0x0a, 0x0a, 0x20, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];
const RECOVERY: [u8; 12] = [0x01, 0x0a, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const EXCEPTIONS: [u8; 12] = [0x1c, 0x0a, 0x00, 6, 0, 0, 0, 0, 0, 0, 0, 0];

/// MODE SENSE (6) without block descriptors.
fn sense(page: u8, subpage: u8) -> [u8; 6] {
    [0x1a, 0x08, page, subpage, 255, 0]
}

/// A page alone, as MODE SENSE (6) gives it.
fn page(host: &Host, code: u8) -> Vec<u8> {
    host.data(&sense(code, 0))[4..].to_vec()
}

/// MODE SELECT (6) of a list.
fn select(list: &[u8]) -> [u8; 6] {
    [0x15, 0x10, 0, 0, u8::try_from(list.len()).unwrap(), 0]
}

/// A list of one page, behind a header.
fn list(page: &[u8]) -> Vec<u8> {
    [&[0; 4][..], page].concat()
}

/// A caching page with other flags.
fn caching(flags: u8) -> Vec<u8> {
    let mut page = CACHING;
    page[2] = flags;
    list(&page)
}

#[test]
fn pages_have_their_values() {
    let host = World::new().host("a");
    assert_eq!(page(&host, 0x01), RECOVERY);
    assert_eq!(page(&host, 0x08), CACHING);
    assert_eq!(page(&host, 0x0a), CONTROL);
    assert_eq!(page(&host, 0x1c), EXCEPTIONS);
    let all = [&RECOVERY[..], &CACHING, &CONTROL, &EXCEPTIONS].concat();
    assert_eq!(page(&host, 0x3f), all);
    assert_eq!(host.data(&sense(0x3f, 0xff))[4..], all);
    assert_eq!(host.data(&sense(0x08, 0xff))[4..], CACHING);
    assert_eq!(page(&host, 0x80 | 0x3f), all, "default values");
}

#[test]
fn only_the_bits_that_can_be_changed_are_said_to_be() {
    let host = World::new().host("a");
    let changeable = page(&host, 0x40 | 0x3f);
    let ones: Vec<usize> = (0..changeable.len()).filter(|&at| changeable[at] != 0).collect();
    let headers = [0, 1, 12, 13, 32, 33, 44, 45];
    let bits: Vec<usize> = ones.into_iter().filter(|at| !headers.contains(at)).collect();
    assert_eq!(bits, [14, 34]);
    assert_eq!([changeable[14], changeable[34]], [0x04, 0x04], "WCE, D_SENSE");
}

#[test]
fn pages_that_are_not_there_and_saved_values_are_refused() {
    let host = World::new().host("a");
    for code in (0..0x40).filter(|code| ![0x01, 0x08, 0x0a, 0x1c, 0x3f].contains(code)) {
        assert_eq!(host.refused(&sense(code, 0), &[]), Sense::invalid_bit_in_cdb(2, 5), "page {code:02x}");
    }
    for subpage in 1..=0xfe {
        assert_eq!(host.refused(&sense(0x0a, subpage), &[]), Sense::invalid_field_in_cdb(3), "{subpage:02x}");
    }
    let saved = host.refused(&sense(0xc0 | 0x08, 0), &[]);
    assert_eq!(saved.code, AdditionalSense::SAVING_PARAMETERS_NOT_SUPPORTED);
}

#[test]
fn headers_and_block_descriptors_of_both_lengths() {
    let host = World::new().host("a");
    let six = host.data(&[0x1a, 0, 0x08, 0, 255, 0]);
    assert_eq!(six[..12], [31, 0, 0x10, 8, 0, 0, 4, 0, 0, 0, 2, 0], "DPOFUA; 1024 blocks of 512 bytes");
    let ten = host.data(&[0x5a, 0, 0x08, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(ten[..16], [0, 34, 0, 0x10, 0, 0, 0, 8, 0, 0, 4, 0, 0, 0, 2, 0]);
    let long = host.data(&[0x5a, 0x10, 0x08, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(long[..8], [0, 42, 0, 0x10, 1, 0, 0, 16], "LONGLBA");
    assert_eq!(long[8..24], [0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
    let none = host.data(&[0x5a, 0x18, 0x08, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(none[..8], [0, 26, 0, 0x10, 0, 0, 0, 0]);
}

#[test]
fn the_length_is_true_whatever_the_allocation_length() {
    let host = World::new().host("a");
    for allocation_length in 0..=72_u8 {
        let six = host.data(&[0x1a, 0, 0x3f, 0, allocation_length, 0]);
        assert_eq!(six.len(), usize::from(allocation_length).min(68));
        assert_eq!(*six.first().unwrap_or(&67), 67);
        let ten = host.data(&[0x5a, 0, 0x3f, 0, 0, 0, 0, 0, allocation_length, 0]);
        assert_eq!(ten.len(), usize::from(allocation_length).min(72));
        if ten.len() >= 2 {
            assert_eq!(be16(&ten, 0), 70);
        }
    }
}

#[test]
fn a_volume_that_refuses_writes_is_write_protected() {
    let host = World::of(Geometry { read_only: true, ..Geometry::for_tests() }).host("a");
    assert_eq!(host.data(&sense(0x08, 0))[2], 0x90, "WP, DPOFUA");
    assert_eq!(host.data(&[0x5a, 8, 0x08, 0, 0, 0, 0, 0, 255, 0])[3], 0x90);
}

#[test]
fn without_the_write_cache_writes_go_to_the_media_and_the_others_are_told() {
    let world = World::new();
    let (host, other) = (world.host("a"), world.host("b"));
    assert_eq!(world.unit.view().least_durability, Durability::Cache);
    let change = host.begin(&select(&caching(0)), &caching(0));
    assert_eq!(world.unit.view().least_durability, Durability::Media);
    host.owner.receipts.lock().unwrap().clear();
    assert!(!change.is_over(), "the cores of the other have the old view");
    other.owner.receipts.lock().unwrap().clear();
    assert!(change.is_over());
    assert_eq!(page(&host, 0x08)[2], 0);
    assert_eq!(page(&host, 0x80 | 0x08)[2], 0x04, "default");
    assert_eq!(other.attentions(), [AdditionalSense::MODE_PARAMETERS_CHANGED]);
    assert_eq!(host.attentions(), []);
}

#[test]
fn a_list_that_changes_nothing_ends_at_once() {
    let world = World::new();
    let (host, other) = (world.host("a"), world.host("b"));
    host.good(&select(&caching(0x04)), &caching(0x04));
    host.good(&select(&[]), &[]);
    host.good(&select(&[0; 4]), &[0; 4]);
    assert!(host.owner.receipts.lock().unwrap().is_empty());
    assert_eq!(other.attentions(), []);
}

#[test]
fn sense_data_has_the_format_that_was_chosen() {
    let world = World::new();
    let host = world.host("a");
    let mut control = CONTROL;
    control[2] |= 0x04;
    host.good(&select(&list(&control)), &list(&control));
    assert_eq!(world.unit.view().sense_format, SenseFormat::Descriptor);
    let refused = host.send(&[0xff; 16], &[]);
    assert_eq!(refused.sense_bytes()[0], 0x72);
    assert_eq!(host.data(&[0x03, 0, 0, 0, 255, 0])[0], 0x70, "REQUEST SENSE asks for a format of its own");
    assert_eq!(host.data(&[0x03, 1, 0, 0, 255, 0])[0], 0x72);
}

/// Lists that are refused, with the sense data. The unit is as it was before, and the others are not told.
#[test]
fn a_list_with_an_error_changes_nothing() {
    let field = Sense::invalid_field_in_parameters;
    let bit = Sense::invalid_bit_in_parameters;
    let header = |descriptor_bytes: u8| [0, 0, 0, descriptor_bytes];
    let descriptor = |blocks: [u8; 4], bytes: [u8; 4]| [blocks, bytes].concat();
    let off = caching(0);
    let good = &off[4..];
    let lists: [(&str, Vec<u8>, Sense); 14] = [
        ("half a header", vec![0; 3], LENGTH_ERROR),
        ("half a page", off[..23].to_vec(), LENGTH_ERROR),
        ("a page's code alone", off[..5].to_vec(), LENGTH_ERROR),
        ("half a descriptor", [&header(8)[..], &[0; 7]].concat(), LENGTH_ERROR),
        ("a medium type", [&[0, 1, 0, 0][..], good].concat(), field(1)),
        ("two descriptors", [&header(16)[..], &[0; 16], good].concat(), field(3)),
        ("a part of a descriptor", [&header(7)[..], &[0; 7], good].concat(), field(3)),
        (
            "other blocks",
            [&header(8)[..], &descriptor([0, 0, 3, 255], [0, 0, 2, 0]), good].concat(),
            field(4),
        ),
        ("other block size", [&header(8)[..], &descriptor([0; 4], [0, 0, 16, 0]), good].concat(), field(9)),
        ("a page that is not there", [&off[..], &[0x02, 0x0e], &[0; 14]].concat(), field(24)),
        ("a page's length", [&off[..], &[0x0a, 0x0b], &[0; 11]].concat(), field(25)),
        ("a subpage", [&off[..], &[0x4a, 0x01, 0, 0x1c], &[0; 28]].concat(), field(24)),
        ("another bit", [&off[..], &[0x0a, 0x0a, 0x20, 0x12], &[0; 8]].concat(), bit(27, 1)),
        (
            "a bit of a page without changeable ones",
            [&off[..], &[0x1c, 0x0a, 0x08, 6], &[0; 8]].concat(),
            bit(26, 3),
        ),
    ];
    for (name, list, expected) in lists {
        let world = World::new();
        let (host, other) = (world.host("a"), world.host("b"));
        assert_eq!(host.refused(&select(&list), &list), expected, "{name}");
        assert_eq!(page(&host, 0x08), CACHING, "{name}");
        assert_eq!(other.attentions(), [], "{name}");
    }
}

#[test]
fn flags_of_the_cdb_and_lengths_of_the_list() {
    let host = World::new().host("a");
    let off = caching(0);
    assert_eq!(host.refused(&[0x15, 0, 0, 0, 24, 0], &off), Sense::invalid_bit_in_cdb(1, 4), "PF = 0");
    assert_eq!(host.refused(&[0x15, 0x11, 0, 0, 24, 0], &off), Sense::invalid_bit_in_cdb(1, 0), "SP");
    assert_eq!(host.refused(&[0x15, 0x10, 0, 0, 25, 0], &off), LENGTH_ERROR, "less data than the CDB says");
    assert_eq!(host.refused(&[0x55, 0x10, 0, 0, 0, 0, 0, 0xff, 0xff, 0], &off), LENGTH_ERROR);
    assert_eq!(page(&host, 0x08), CACHING);
}

#[test]
fn mode_select_10_takes_all_kinds_of_descriptors_that_change_nothing() {
    let short = [&[0, 0, 0, 0, 0, 0, 0, 8][..], &[0, 0, 4, 0, 0, 0, 2, 0]].concat();
    let keep = [&[0, 0, 0, 0, 0, 0, 0, 8][..], &[0, 0, 0, 0, 0, 0, 2, 0]].concat();
    let long = [&[0, 0, 0, 0, 1, 0, 0, 16][..], &[0; 6], &[4, 0], &[0; 6], &[2, 0]].concat();
    for header in [vec![0; 8], short, keep, long] {
        let host = World::new().host("a");
        let list = [&header[..], &caching(0)[4..]].concat();
        let cdb = [0x55, 0x10, 0, 0, 0, 0, 0, 0, u8::try_from(list.len()).unwrap(), 0];
        host.good(&cdb, &list);
        assert_eq!(page(&host, 0x08)[2], 0, "{header:?}");
    }
    let host = World::new().host("a");
    let list = [&[0, 0, 0, 0, 1, 0, 0, 8][..], &[0; 8]].concat();
    let cdb = [0x55, 0x10, 0, 0, 0, 0, 0, 0, 16, 0];
    assert_eq!(host.refused(&cdb, &list), Sense::invalid_field_in_parameters(6), "LONGLBA and a short one");
}

#[test]
fn a_volume_without_a_volatile_cache_has_none_to_be_switched() {
    let world = World::of(Geometry { volatile_cache: false, ..Geometry::for_tests() });
    let host = world.host("a");
    assert_eq!(page(&host, 0x08)[2], 0);
    assert_eq!(page(&host, 0x48)[2], 0, "changeable");
    let refused = host.refused(&select(&caching(0x04)), &caching(0x04));
    assert_eq!(refused, Sense::invalid_bit_in_parameters(6, 2));
    assert_eq!(world.unit.view().least_durability, Durability::Cache, "every write is on the media");
    host.good(&TEST_UNIT_READY, &[]);
}

#[test]
fn more_blocks_than_a_short_descriptor_can_say_are_all_ones() {
    let blocks = luge_block::Blocks(1 << 40);
    let host = World::of(Geometry { blocks, ..Geometry::for_tests() }).host("a");
    assert_eq!(be32(&host.data(&[0x1a, 0, 0x08, 0, 255, 0]), 4), u32::MAX);
}

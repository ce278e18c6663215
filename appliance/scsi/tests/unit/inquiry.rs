//! INQUIRY: standard data and pages of vital product data.

use super::rig::{LUNS, UUID, World, be16, be32, be64, config, vpd};
use luge_block::doubles::Scripted;
use luge_block::{Blocks, Geometry};
use luge_scsi::{AbsentLun, Ending, Incoming, LogicalUnit, Sense, UnitConfig, UnitError, absent};
use luge_spec::scsi::AdditionalSense;
use luge_volume::Volume;
use std::sync::Arc;

/// All pages, with the bytes behind their headers.
const PAGES: [(u8, usize); 9] =
    [(0x00, 9), (0x80, 32), (0x83, 94), (0x86, 60), (0x87, 4), (0x8f, 8), (0xb0, 60), (0xb1, 60), (0xb2, 4)];

const STANDARD: [u8; 6] = [0x12, 0, 0, 0, 255, 0];

#[test]
fn standard_data_says_what_the_unit_is() {
    let host = World::new().host("a");
    let data = host.data(&STANDARD);
    assert_eq!(data.len(), 96);
    assert_eq!(data[..5], [0x00, 0, 6, 0x12, 91], "type, version, format, length");
    assert_eq!(data[5..8], [0x10, 0x10, 0x02], "TPGS, MULTIP, CMDQUE");
    assert_eq!(&data[8..36], b"LUGE    LUGE Volume     0001");
    assert_eq!([be16(&data, 58), be16(&data, 60), be16(&data, 62)], [0x00a0, 0x0460, 0x04c0]);
}

#[test]
fn the_pages_that_are_listed_are_those_that_there_are() {
    let host = World::new().host("a");
    assert_eq!(host.data(&vpd(0, 255))[4..], PAGES.map(|(page, _)| page));
    for page in 0..=u8::MAX {
        let is_listed = PAGES.iter().any(|(listed, _)| *listed == page);
        let answer = host.send(&vpd(page, 255), &[]);
        let expected = if is_listed { Ending::GOOD } else { Sense::invalid_field_in_cdb(2).into() };
        assert_eq!(answer.ending, expected, "page {page:02x}");
    }
}

#[test]
fn a_page_says_its_true_length_whatever_the_allocation_length() {
    let host = World::new().host("a");
    for (page, length) in PAGES {
        let whole = host.data(&vpd(page, u16::MAX));
        assert_eq!(whole.len(), length + 4, "page {page:02x}");
        assert_eq!(usize::from(be16(&whole, 2)), length, "page {page:02x}");
        assert_eq!(whole[..2], [0x00, page]);
        for allocation_length in (0..8).chain([60, 255, 256]) {
            let part = host.data(&vpd(page, allocation_length));
            let expected = whole.len().min(allocation_length.into());
            assert_eq!(part, whole[..expected], "page {page:02x}, {allocation_length} bytes");
        }
    }
}

#[test]
fn standard_data_is_cut_to_the_allocation_length() {
    let host = World::new().host("a");
    let whole = host.data(&STANDARD);
    for allocation_length in 0..=96 {
        let part = host.data(&[0x12, 0, 0, 0, allocation_length, 0]);
        assert_eq!(part, whole[..allocation_length.into()]);
    }
}

#[test]
fn a_page_code_without_evpd_is_refused() {
    let host = World::new().host("a");
    assert_eq!(host.refused(&[0x12, 0, 0x80, 0, 255, 0], &[]), Sense::invalid_field_in_cdb(2));
    assert_eq!(host.refused(&[0x12, 2, 0, 0, 255, 0], &[]), Sense::invalid_bit_in_cdb(1, 1), "CMDDT");
}

/// Designators of a unit: first bytes of the headers, and values.
fn designators(page: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
    let mut rest = &page[4..];
    let mut all = Vec::new();
    while let [code_set, kind, _, length, ..] = *rest {
        let end = 4 + usize::from(length);
        all.push((code_set, kind, rest[4..end].to_vec()));
        rest = &rest[end..];
    }
    all
}

#[test]
fn designators_name_the_unit_and_the_port() {
    let host = World::new().host("a");
    let all = designators(&host.data(&vpd(0x83, 255)));
    let kinds: Vec<[u8; 2]> = all.iter().map(|(code_set, kind, _)| [*code_set, *kind]).collect();
    assert_eq!(kinds, [[1, 0x03], [2, 0x01], [1, 0x0a], [1, 0x14], [1, 0x15]]);
    assert_eq!(all[0].2.len(), 8);
    assert_eq!(all[0].2[0] >> 4, 3, "NAA, locally assigned");
    assert_eq!(all[1].2, *b"LUGE    30313233343536373839616263646566");
    assert_eq!(all[2].2, [&[0x10, 0][..], &UUID].concat());
    assert_eq!(all[3].2, [0, 0, 0, 1]);
    assert_eq!(all[4].2, [0, 0, 0, 0]);
}

#[test]
fn designators_of_the_longest_serial_number_fit_in_a_calculation_with_8_bits() {
    let serial = "s".repeat(36);
    let world = named(Some(serial.clone()), None).unwrap();
    assert_eq!(world.serial(), serial);
    let world = World { unit: world, ..World::new() };
    let page = world.host("a").data(&vpd(0x83, u16::MAX));
    assert!(page.len() < 252, "{}", page.len());
}

#[test]
fn a_unit_is_the_same_through_all_ports_and_the_ports_are_not() {
    let world = World::new();
    let pages = ["a", "b"].map(|name| world.host(name)).map(|host| designators(&host.data(&vpd(0x83, 255))));
    let [first, second] = pages;
    assert_eq!(first[..3], second[..3]);
    assert_ne!(first[3], second[3]);
}

#[test]
fn units_of_different_volumes_have_different_identifiers_and_those_of_one_have_one() {
    let unit = |uuid| {
        let volume = Arc::new(Volume::whole(Arc::new(Scripted::new(Geometry::for_tests(), 1))));
        LogicalUnit::new(UnitConfig { uuid, ..config(volume) }).unwrap()
    };
    let mut identifiers = Vec::new();
    for place in 0..16 {
        for value in 0..=255 {
            let mut uuid = [0; 16];
            uuid[place] = value;
            identifiers.push(unit(uuid).naa());
        }
    }
    let all = identifiers.len();
    identifiers.sort_unstable();
    identifiers.dedup();
    assert_eq!(identifiers.len(), all - 15, "16 of them are the same one");
    assert_eq!(unit(UUID).naa(), unit(UUID).naa());
}

fn named(serial: Option<String>, product: Option<String>) -> Result<Arc<LogicalUnit>, UnitError> {
    let volume = Arc::new(Volume::whole(Arc::new(Scripted::new(Geometry::for_tests(), 1))));
    LogicalUnit::new(UnitConfig { serial, product, ..config(volume) })
}

#[test]
fn serial_number_and_product_can_be_set() {
    let unit = named(Some("S 1".into()), Some("Disk of Ada".into())).unwrap();
    let world = World { unit, ..World::new() };
    let host = world.host("a");
    assert_eq!(&host.data(&vpd(0x80, 255))[4..], b"S 1");
    assert_eq!(&host.data(&STANDARD)[16..32], b"Disk of Ada     ");
    assert_eq!(world.unit.product(), "Disk of Ada");
}

#[test]
fn names_that_do_not_fit_are_refused() {
    for serial in ["", "\u{e9}", "a\n", &"s".repeat(37)] {
        assert_eq!(named(Some(serial.into()), None).err(), Some(UnitError::Serial(serial.into())));
    }
    for product in ["", "a\tb", &"p".repeat(17)] {
        assert_eq!(named(None, Some(product.into())).err(), Some(UnitError::Product(product.into())));
    }
}

#[test]
fn limits_are_those_by_which_commands_are_checked() {
    let world = World::new();
    let (host, view) = (world.host("a"), world.unit.view());
    let page = host.data(&vpd(0xb0, 255));
    assert_eq!(page[4], 1, "WSNZ");
    assert_eq!(page[5], view.compare_and_write_blocks_max);
    assert_eq!(be16(&page, 6), 8, "optimal granularity");
    assert_eq!(be32(&page, 8), view.verify_data_blocks_max);
    assert_eq!(be32(&page, 20), view.unmap_blocks_max);
    assert_eq!(be32(&page, 24), 256, "descriptors");
    assert_eq!(be32(&page, 28), 8);
    assert_eq!(be32(&page, 32), 1 << 31, "aligned at the first block");
    assert_eq!(be64(&page, 36), view.write_same_blocks_max.into());
    assert_eq!(host.data(&vpd(0xb2, 255))[4..], [0, 0xe0, 2, 0]);
}

#[test]
fn a_unit_that_cannot_deallocate_says_so_in_all_pages() {
    let world = World::of(Geometry { discard_blocks_max: 0, ..Geometry::for_tests() });
    let host = world.host("a");
    assert_eq!(host.data(&vpd(0xb0, 255))[20..36], [0; 16]);
    assert_eq!(host.data(&vpd(0xb2, 255))[4..], [0; 4]);
    let capacity = host.data(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]);
    assert_eq!(capacity[14], 0, "LBPME");
}

#[test]
fn abilities_follow_the_volume() {
    let host = World::new().host("a");
    let page = host.data(&vpd(0x86, 255));
    assert_eq!([page[5], page[6], page[13]], [0x01, 0x01, 28], "SIMPSUP, V_SUP, sense data");
    let world = World::of(Geometry { volatile_cache: false, ..Geometry::for_tests() });
    assert_eq!(world.host("a").data(&vpd(0x86, 255))[6], 0);
    assert_eq!(host.data(&vpd(0x87, 255))[4..], [0x3f, 0xff, 0, 0]);
    assert_eq!(host.data(&vpd(0x8f, 255))[4..], [0, 1, 0, 4, 0, 0, 0, 0], "no commands of third-party copy");
    assert_eq!(host.data(&vpd(0xb1, 255))[4..8], [0, 1, 0, 0], "does not rotate");
}

fn absent_data(cdb: &[u8], lun: AbsentLun) -> Result<Vec<u8>, Sense> {
    let answer = absent(&Incoming { cdb, data_out: &[], luns: &LUNS }, lun);
    answer.ending.sense.map_or(Ok(answer.data_in), Err)
}

const NOT_SUPPORTED: Sense = Sense::illegal_request(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED);

#[test]
fn a_lun_without_a_unit_answers_what_it_must() {
    let ask = |cdb: &[u8]| absent_data(cdb, AbsentLun::Lun);
    assert_eq!(ask(&STANDARD).unwrap()[..5], [0x7f, 0, 6, 0x12, 91]);
    assert_eq!(ask(&[0x12, 0, 0, 0, 5, 0]).unwrap().len(), 5);
    assert_eq!(ask(&vpd(0x83, 255)), Err(NOT_SUPPORTED));
    let luns = ask(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]).unwrap();
    assert_eq!(luns.len(), 8 + 8 * LUNS.len());
    let sense = ask(&[0x03, 0, 0, 0, 255, 0]).unwrap();
    assert_eq!([sense[0], sense[2], sense[12]], [0x70, 5, 0x25]);
    for cdb in [&[0; 6][..], &[0x28; 10], &[0x25; 10], &[0xff; 16]] {
        assert_eq!(ask(cdb), Err(NOT_SUPPORTED), "{cdb:02x?}");
    }
}

#[test]
fn a_cdb_that_is_too_short_is_refused_by_a_lun_without_a_unit() {
    for length in 0..6 {
        let refused = absent_data(&[0x12, 0, 0, 0xff, 0, 0][..length], AbsentLun::Lun);
        assert_eq!(refused, Err(Sense::invalid_field_in_cdb(u16::try_from(length).unwrap())));
    }
}

#[test]
fn the_well_known_unit_reports_luns_and_nothing_else() {
    let ask = |cdb: &[u8]| absent_data(cdb, AbsentLun::ReportLuns);
    assert_eq!(ask(&STANDARD).unwrap()[0], 0x1e);
    assert_eq!(ask(&vpd(0, 255)).unwrap(), [0x1e, 0, 0, 1, 0]);
    assert_eq!(ask(&vpd(0x83, 255)), Err(Sense::invalid_field_in_cdb(2)));
    assert_eq!(ask(&[0; 6]).unwrap(), []);
    assert_eq!(ask(&[0x03, 0, 0, 0, 255, 0]).unwrap()[2], 0);
    assert_eq!(ask(&[0xa0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0]).unwrap().len(), 8 + 8 * (LUNS.len() + 1));
    assert_eq!(ask(&[0x28; 10]), Err(Sense::invalid_opcode()));
}

#[test]
fn the_capacity_is_that_of_the_volume_at_any_time() {
    let geometry = Geometry { blocks: Blocks(1 << 33), ..Geometry::for_tests() };
    let host = World::of(geometry).host("a");
    assert_eq!(be32(&host.data(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 0), u32::MAX);
    let long = host.data(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]);
    assert_eq!(be64(&long, 0), (1 << 33) - 1);
    assert_eq!(long.len(), 32);
}

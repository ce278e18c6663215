//! The choice of data: standard data, or a page of vital product data.

use super::{abilities, identification, limits, standard};
use crate::bytes::{cut, length_16, u8_at, u16_at};
use crate::sense::Sense;
use crate::unit::Nexus;
use crate::view::UnitView;
use luge_spec::scsi::{AdditionalSense, VpdHeader, VpdPage, inquiry_flags, peripheral};
use zerocopy::IntoBytes;

/// Pages of a unit, in ascending order.
const PAGES: [VpdPage; 9] = [
    VpdPage::SUPPORTED,
    VpdPage::SERIAL,
    VpdPage::IDENTIFICATION,
    VpdPage::EXTENDED_INQUIRY,
    VpdPage::MODE_POLICY,
    VpdPage::THIRD_PARTY_COPY,
    VpdPage::BLOCK_LIMITS,
    VpdPage::BLOCK_CHARACTERISTICS,
    VpdPage::PROVISIONING,
];

/// A field of the CDB that does not go with the others, or names a page that is not there.
const NO_SUCH_PAGE: Sense = Sense::invalid_field_in_cdb(2);

/// Answers INQUIRY of a unit.
pub(crate) fn inquiry(nexus: &Nexus, cdb: &[u8], view: &UnitView) -> Result<Vec<u8>, Sense> {
    let data = match asked(cdb)? {
        None => standard::of_unit(&nexus.unit),
        Some(page) => page_of(peripheral::DISK, page, &body(nexus, page, view).ok_or(NO_SUCH_PAGE)?),
    };
    Ok(cut(data, u16_at(cdb, 3).into()))
}

/// Answers INQUIRY of a LUN without a unit, which has no pages.
pub(crate) fn absent(cdb: &[u8]) -> Result<Vec<u8>, Sense> {
    match asked(cdb)? {
        None => Ok(cut(standard::without_unit(peripheral::ABSENT), u16_at(cdb, 3).into())),
        Some(_) => Err(Sense::illegal_request(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED)),
    }
}

/// Answers INQUIRY of the well-known logical unit REPORT LUNS.
pub(crate) fn well_known(cdb: &[u8]) -> Result<Vec<u8>, Sense> {
    let data = match asked(cdb)? {
        None => standard::without_unit(peripheral::WELL_KNOWN),
        Some(page @ VpdPage::SUPPORTED) => page_of(peripheral::WELL_KNOWN, page, &[page.0]),
        Some(_) => return Err(NO_SUCH_PAGE),
    };
    Ok(cut(data, u16_at(cdb, 3).into()))
}

/// The page that is wanted; none for standard data.
fn asked(cdb: &[u8]) -> Result<Option<VpdPage>, Sense> {
    let page = VpdPage(u8_at(cdb, 2));
    match u8_at(cdb, 1) & inquiry_flags::EVPD {
        0 if page.0 != 0 => Err(NO_SUCH_PAGE),
        0 => Ok(None),
        _ => Ok(Some(page)),
    }
}

/// A page without its header; none where there is no such page.
fn body(nexus: &Nexus, page: VpdPage, view: &UnitView) -> Option<Vec<u8>> {
    let unit = &nexus.unit;
    match page {
        VpdPage::SUPPORTED => Some(PAGES.iter().map(|page| page.0).collect()),
        VpdPage::SERIAL => Some(unit.serial().into()),
        VpdPage::IDENTIFICATION => Some(identification::designators(unit.names(), &nexus.link.port)),
        VpdPage::EXTENDED_INQUIRY => Some(abilities::extended_inquiry(&unit.geometry())),
        VpdPage::MODE_POLICY => Some(abilities::mode_policy()),
        VpdPage::THIRD_PARTY_COPY => Some(abilities::third_party_copy()),
        VpdPage::BLOCK_LIMITS => Some(limits::block_limits(&unit.geometry(), view)),
        VpdPage::BLOCK_CHARACTERISTICS => Some(limits::characteristics()),
        VpdPage::PROVISIONING => Some(limits::provisioning(view)),
        _ => None,
    }
}

fn page_of(peripheral: u8, page: VpdPage, body: &[u8]) -> Vec<u8> {
    let header = VpdHeader { peripheral, page: page.0, length: length_16(body.len()).into() };
    [header.as_bytes(), body].concat()
}

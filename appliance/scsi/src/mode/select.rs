//! MODE SELECT (6) and (10). SPC-4, clauses 6.11 and 6.12.

use super::descriptor::{check_long, check_short};
use super::pages::{HEADER_BYTES, changeable, page, set};
use crate::bytes::{length_16, u8_at, u16_at};
use crate::sense::Sense;
use crate::serve::Incoming;
use crate::unit::Settings;
use luge_block::Geometry;
use luge_spec::scsi::{AdditionalSense, ModeHeader6, ModeHeader10, ModePage, Opcode, mode_bits};
use zerocopy::FromBytes;

const LENGTH_ERROR: Sense = Sense::illegal_request(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);

/// Parameters of a list, whose pages are not checked.
struct List<'a> {
    bytes: &'a [u8],
    /// Byte in which the first page begins.
    pages_at: usize,
}

/// Reads the parameters of MODE SELECT, all of which must be right; returns the settings that they make.
pub(crate) fn select(
    incoming: &Incoming<'_>,
    geometry: &Geometry,
    mut settings: Settings,
) -> Result<Settings, Sense> {
    let flags = u8_at(incoming.cdb, 1);
    if flags & mode_bits::PAGE_FORMAT == 0 {
        return Err(Sense::invalid_bit_in_cdb(1, 4));
    }
    if flags & mode_bits::SAVE != 0 {
        return Err(Sense::invalid_bit_in_cdb(1, 0));
    }
    let Some(list) = parameters(incoming, geometry)? else { return Ok(settings) };
    let mut at = list.pages_at;
    while at < list.bytes.len() {
        let (code, bytes) = checked_page(&list, at, geometry, settings)?;
        settings = set(settings, code, bytes);
        at = at.saturating_add(bytes.len());
    }
    Ok(settings)
}

/// The list, whose header and block descriptors are checked; none where it is empty, which is no error.
fn parameters<'a>(incoming: &Incoming<'a>, geometry: &Geometry) -> Result<Option<List<'a>>, Sense> {
    let is_6 = u8_at(incoming.cdb, 0) == Opcode::MODE_SELECT_6.0;
    let length = if is_6 { u8_at(incoming.cdb, 4).into() } else { u16_at(incoming.cdb, 7) };
    if length == 0 {
        return Ok(None);
    }
    let bytes = incoming.data_out.get(..length.into()).ok_or(LENGTH_ERROR)?;
    let pages_at = if is_6 { check_header_6(bytes, geometry)? } else { check_header_10(bytes, geometry)? };
    Ok(Some(List { bytes, pages_at }))
}

/// Returns the byte behind the block descriptors. The mode data length is reserved.
fn check_header_6(bytes: &[u8], geometry: &Geometry) -> Result<usize, Sense> {
    let (header, rest) = ModeHeader6::read_from_prefix(bytes).map_err(|_| LENGTH_ERROR)?;
    if header.medium != 0 {
        return Err(Sense::invalid_field_in_parameters(1));
    }
    match header.descriptor_bytes {
        0 => Ok(4),
        8 => {
            let descriptor = rest.get(..8).ok_or(LENGTH_ERROR)?;
            check_short(descriptor, 4, geometry).map(|()| 12)
        }
        _ => Err(Sense::invalid_field_in_parameters(3)),
    }
}

fn check_header_10(bytes: &[u8], geometry: &Geometry) -> Result<usize, Sense> {
    let (header, rest) = ModeHeader10::read_from_prefix(bytes).map_err(|_| LENGTH_ERROR)?;
    if header.medium != 0 {
        return Err(Sense::invalid_field_in_parameters(2));
    }
    let is_long = header.flags & mode_bits::LONG_DESCRIPTORS != 0;
    match (header.descriptor_bytes.get(), is_long) {
        (0, _) => Ok(8),
        (8, false) => {
            let descriptor = rest.get(..8).ok_or(LENGTH_ERROR)?;
            check_short(descriptor, 8, geometry).map(|()| 16)
        }
        (16, true) => {
            let descriptor = rest.get(..16).ok_or(LENGTH_ERROR)?;
            check_long(descriptor, 8, geometry).map(|()| 24)
        }
        _ => Err(Sense::invalid_field_in_parameters(6)),
    }
}

/// A page that begins in a byte of the list, and changes nothing but bits that can be changed.
fn checked_page<'a>(
    list: &List<'a>,
    at: usize,
    geometry: &Geometry,
    settings: Settings,
) -> Result<(ModePage, &'a [u8]), Sense> {
    let rest = list.bytes.get(at..).unwrap_or_default();
    let (code, place) = (ModePage(u8_at(rest, 0) & mode_bits::PAGE), length_16(at));
    let own = page(code, settings).zip(changeable(code, geometry));
    let has_subpage = u8_at(rest, 0) & mode_bits::SUBPAGE_FORMAT != 0;
    let (own, mask) = own.filter(|_| !has_subpage).ok_or(Sense::invalid_field_in_parameters(place))?;
    if rest.len() < HEADER_BYTES {
        return Err(LENGTH_ERROR);
    }
    if u8_at(rest, 1) != u8_at(&own, 1) {
        return Err(Sense::invalid_field_in_parameters(place.saturating_add(1)));
    }
    let bytes = rest.get(..own.len()).ok_or(LENGTH_ERROR)?;
    check_bits(bytes, &own, &mask, place)?;
    Ok((code, bytes))
}

/// Checks that a page differs from the unit's only where it can be changed.
fn check_bits(bytes: &[u8], own: &[u8], mask: &[u8], place: u16) -> Result<(), Sense> {
    let all = bytes.iter().zip(own).zip(mask).enumerate().skip(HEADER_BYTES);
    for (offset, ((new, own), mask)) in all {
        if let Some(bit) = ((new ^ own) & !mask).checked_ilog2() {
            let place = place.saturating_add(length_16(offset));
            return Err(Sense::invalid_bit_in_parameters(place, u8::try_from(bit).unwrap_or(0)));
        }
    }
    Ok(())
}

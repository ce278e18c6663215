//! MODE SENSE (6) and (10). SPC-4, clauses 6.13 and 6.14.

use super::descriptor;
use super::pages::{PAGES, changeable, page};
use crate::bytes::{cut, length_8, length_16, u8_at, u16_at};
use crate::sense::Sense;
use crate::unit::{LogicalUnit, Settings};
use luge_block::Geometry;
use luge_spec::scsi::{AdditionalSense, ModeHeader6, ModeHeader10, ModePage, Opcode, mode_bits};
use zerocopy::IntoBytes;

/// PC: values that are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Values {
    Current,
    Changeable,
    Default,
}

/// Answers MODE SENSE.
pub(crate) fn sense(unit: &LogicalUnit, cdb: &[u8]) -> Result<Vec<u8>, Sense> {
    let geometry = unit.geometry();
    let pages = pages(unit, &geometry, cdb)?;
    if u8_at(cdb, 0) == Opcode::MODE_SENSE_6.0 {
        return Ok(cut(parameters_6(&geometry, cdb, &pages), u8_at(cdb, 4).into()));
    }
    Ok(cut(parameters_10(&geometry, cdb, &pages), u16_at(cdb, 7).into()))
}

fn parameters_6(geometry: &Geometry, cdb: &[u8], pages: &[u8]) -> Vec<u8> {
    let descriptor = if wants_descriptor(cdb) { descriptor::short(geometry) } else { Vec::new() };
    let mut header = ModeHeader6 {
        device: device(geometry),
        descriptor_bytes: length_8(descriptor.len()),
        ..ModeHeader6::default()
    };
    let length = [header.as_bytes(), &descriptor, pages].concat().len();
    header.length = length_8(length.saturating_sub(1));
    [header.as_bytes(), &descriptor, pages].concat()
}

fn parameters_10(geometry: &Geometry, cdb: &[u8], pages: &[u8]) -> Vec<u8> {
    let is_long = u8_at(cdb, 1) & mode_bits::LONG_ACCEPTED != 0;
    let descriptor = match (wants_descriptor(cdb), is_long) {
        (false, _) => Vec::new(),
        (true, false) => descriptor::short(geometry),
        (true, true) => descriptor::long(geometry),
    };
    let has_long = is_long && !descriptor.is_empty();
    let mut header = ModeHeader10 {
        device: device(geometry),
        flags: if has_long { mode_bits::LONG_DESCRIPTORS } else { 0 },
        descriptor_bytes: length_16(descriptor.len()).into(),
        ..ModeHeader10::default()
    };
    let length = [header.as_bytes(), &descriptor, pages].concat().len();
    header.length = length_16(length.saturating_sub(2)).into();
    [header.as_bytes(), &descriptor, pages].concat()
}

fn wants_descriptor(cdb: &[u8]) -> bool {
    u8_at(cdb, 1) & mode_bits::NO_DESCRIPTOR == 0
}

/// Device-specific parameter. SBC-3, clause 6.5.1.
const fn device(geometry: &Geometry) -> u8 {
    let protection = if geometry.read_only { mode_bits::WRITE_PROTECTED } else { 0 };
    protection | mode_bits::DPOFUA
}

/// The pages that are wanted, one after the other.
fn pages(unit: &LogicalUnit, geometry: &Geometry, cdb: &[u8]) -> Result<Vec<u8>, Sense> {
    let values = match u8_at(cdb, 2) >> 6 {
        0 => Values::Current,
        1 => Values::Changeable,
        2 => Values::Default,
        _ => return Err(Sense::illegal_request(AdditionalSense::SAVING_PARAMETERS_NOT_SUPPORTED)),
    };
    let code = ModePage(u8_at(cdb, 2) & mode_bits::PAGE);
    if !matches!(u8_at(cdb, 3), 0 | mode_bits::ALL_SUBPAGES) {
        return Err(Sense::invalid_field_in_cdb(3));
    }
    let codes = if code == ModePage::ALL { PAGES.to_vec() } else { vec![code] };
    let one = |code| match values {
        Values::Current => page(code, unit.settings()),
        Values::Changeable => changeable(code, geometry),
        Values::Default => page(code, Settings::of(geometry)),
    };
    let pages: Option<Vec<Vec<u8>>> = codes.into_iter().map(one).collect();
    Ok(pages.ok_or(Sense::invalid_bit_in_cdb(2, 5))?.concat())
}

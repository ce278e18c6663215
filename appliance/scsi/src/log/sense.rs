//! LOG SENSE. SPC-4, clause 6.8.

use super::pages::page;
use crate::bytes::{cut, u8_at, u16_at};
use crate::sense::Sense;
use crate::unit::LogicalUnit;
use luge_spec::scsi::{LogHeader, LogPage, LogParameter, log_bits};
use zerocopy::{FromBytes, IntoBytes};

/// Answers LOG SENSE: cumulative values, which nothing saves.
pub(crate) fn log_sense(unit: &LogicalUnit, cdb: &[u8]) -> Result<Vec<u8>, Sense> {
    if u8_at(cdb, 1) & log_bits::SAVE != 0 {
        return Err(Sense::invalid_bit_in_cdb(1, 0));
    }
    let code = LogPage(u8_at(cdb, 2) & log_bits::PAGE);
    let is_list = matches!(code, LogPage::SUPPORTED | LogPage::EXCEPTIONS);
    // Lists have no values that a page control could choose.
    if u8_at(cdb, 2) & !log_bits::PAGE != log_bits::CUMULATIVE && !is_list {
        return Err(Sense::invalid_bit_in_cdb(2, 7));
    }
    let subpage = u8_at(cdb, 3);
    let page = page(unit, code, subpage).ok_or_else(|| absent(unit, code))?;
    let page = from_parameter(page, u16_at(cdb, 5))?;
    Ok(cut(page, u16_at(cdb, 7).into()))
}

/// Refusal of a page that is not there, or has no such subpage.
fn absent(unit: &LogicalUnit, code: LogPage) -> Sense {
    match page(unit, code, 0) {
        Some(_) => Sense::invalid_field_in_cdb(3),
        None => Sense::invalid_bit_in_cdb(2, 5),
    }
}

/// The page without the parameters before the first that is wanted. There must be one.
fn from_parameter(page: Vec<u8>, first: u16) -> Result<Vec<u8>, Sense> {
    const REFUSED: Sense = Sense::invalid_field_in_cdb(5);
    if first == 0 {
        return Ok(page);
    }
    let (mut header, body) = LogHeader::read_from_prefix(&page).map_err(|_| REFUSED)?;
    let has_parameters = header.page & log_bits::PAGE != LogPage::SUPPORTED.0;
    let (parameter, _) = LogParameter::read_from_prefix(body).map_err(|_| REFUSED)?;
    // No page has more than one.
    if !has_parameters || parameter.code.get() < first {
        return Err(REFUSED);
    }
    header.length = crate::bytes::length_16(body.len()).into();
    Ok([header.as_bytes(), body].concat())
}

//! Log pages of a unit.

use crate::bytes::{length_8, length_16};
use crate::unit::LogicalUnit;
use luge_spec::scsi::{LogHeader, LogPage, LogParameter, log_bits};
use zerocopy::IntoBytes;

/// Codes of all pages, in ascending order. None has subpages, but for the list of all.
const PAGES: [LogPage; 4] =
    [LogPage::SUPPORTED, LogPage::WRITE_ERRORS, LogPage::READ_ERRORS, LogPage::EXCEPTIONS];

/// Temperature that is not known.
const UNKNOWN_TEMPERATURE: u8 = 0xff;

/// A page; none where there is no such page.
pub(super) fn page(unit: &LogicalUnit, code: LogPage, subpage: u8) -> Option<Vec<u8>> {
    let counters = unit.volume().counters();
    let bytes_of = |blocks: u64| blocks.saturating_mul(unit.geometry().block_bytes.into());
    let body = match (code, subpage) {
        (LogPage::SUPPORTED, 0) => PAGES.iter().map(|page| page.0).collect(),
        (LogPage::SUPPORTED, log_bits::ALL_SUBPAGES) => all_subpages(),
        (LogPage::WRITE_ERRORS, 0) => error_counters(bytes_of(counters.written_blocks)),
        (LogPage::READ_ERRORS, 0) => error_counters(bytes_of(counters.read_blocks)),
        (LogPage::EXCEPTIONS, 0) => no_exceptions(),
        _ => return None,
    };
    let format = if subpage == 0 { 0 } else { log_bits::SUBPAGE_FORMAT };
    let header = LogHeader { page: code.0 | format, subpage, length: length_16(body.len()).into() };
    Some([header.as_bytes(), &body].concat())
}

/// List of all pages and subpages.
fn all_subpages() -> Vec<u8> {
    let pages = PAGES.iter().flat_map(|page| [page.0, 0]);
    let mut all: Vec<u8> = pages.collect();
    let list = [LogPage::SUPPORTED.0, log_bits::ALL_SUBPAGES];
    // It comes behind page 00h without a subpage.
    all.splice(2..2, list);
    all
}

/// Error counters: errors are counted of reads and writes together, so that neither page has them.
fn error_counters(bytes: u64) -> Vec<u8> {
    parameter(log_bits::BYTES_PROCESSED, log_bits::COUNTER, &bytes.to_be_bytes())
}

/// Informational exceptions: there are none.
fn no_exceptions() -> Vec<u8> {
    parameter(0, log_bits::BINARY_LIST, &[0, 0, UNKNOWN_TEMPERATURE, 0])
}

fn parameter(code: u16, control: u8, value: &[u8]) -> Vec<u8> {
    let header = LogParameter { code: code.into(), control, length: length_8(value.len()) };
    [header.as_bytes(), value].concat()
}

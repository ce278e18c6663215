//! REPORT LUNS. SPC-4, clause 6.33.

use crate::bytes::{cut, length_32, u8_at, u32_at};
use crate::sense::Sense;
use luge_spec::scsi::{LunListHeader, SelectReport};
use zerocopy::IntoBytes;

/// Bytes of a LUN.
const LUN_BYTES: usize = 8;

/// The well-known logical unit REPORT LUNS. SAM-5, clause 4.7.7.5.
const WELL_KNOWN: [u8; LUN_BYTES] = [0xc1, 0x01, 0, 0, 0, 0, 0, 0];

/// Answers REPORT LUNS of a target with these LUNs.
pub(crate) fn report_luns(cdb: &[u8], luns: &[u8]) -> Result<Vec<u8>, Sense> {
    let ordinary = luns.iter().flat_map(|&lun| peripheral(lun));
    let list: Vec<u8> = match SelectReport(u8_at(cdb, 2)) {
        SelectReport::ORDINARY => ordinary.collect(),
        SelectReport::WELL_KNOWN => WELL_KNOWN.into(),
        SelectReport::ALL => ordinary.chain(WELL_KNOWN).collect(),
        _ => return Err(Sense::invalid_field_in_cdb(2)),
    };
    let header = LunListHeader { length: length_32(list.len()).into(), ..LunListHeader::default() };
    Ok(cut([header.as_bytes(), &list].concat(), u32_at(cdb, 6)))
}

/// A LUN by peripheral device addressing. SAM-5, clause 4.7.7.2.
const fn peripheral(lun: u8) -> [u8; LUN_BYTES] {
    [0, lun, 0, 0, 0, 0, 0, 0]
}

//! REQUEST SENSE. SPC-4, clause 6.39.

use crate::bytes::{cut, u8_at};
use crate::sense::{Sense, SenseFormat};

/// Parameter data of REQUEST SENSE, in the format that the CDB asks for.
pub(super) fn request_sense(cdb: &[u8], sense: Sense) -> Vec<u8> {
    let format = if u8_at(cdb, 1) & 1 == 0 { SenseFormat::Fixed } else { SenseFormat::Descriptor };
    cut(sense.to_bytes(format).to_vec(), u8_at(cdb, 4).into())
}

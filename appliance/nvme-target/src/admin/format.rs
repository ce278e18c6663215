//! Format NVM. Base 2.0, clause 5.14; NVM 1.0, clause 4.1.2.
//!
//! A volume has one format, and so a format only erases: all blocks read as zeroes afterwards.

use super::outcome::{INVALID_FIELD, Outcome, Reply, refuse};
use crate::commands::CommandStatus;
use crate::controller::Controller;
use crate::ids::NamespaceId;
use crate::relay::Relayed;
use luge_spec::nvme::StatusCode;

/// LBAF in CDW10: lower bits in 3:0, upper ones in 13:12.
const FORMAT: u32 = 0x300f;

/// MSET, PI and PIL: metadata and protection, which no format has.
const METADATA: u32 = 0x1f0;

/// SES: cryptographic erase is the first that is not possible.
const CRYPTOGRAPHIC_ERASE: u32 = 2;

impl Controller {
    /// Format NVM: completed when all blocks are zeroed.
    pub(super) fn format(&mut self, command: &Relayed) -> Reply {
        let [cdw10, ..] = command.entry.cdw10;
        let served = self.active(NamespaceId(command.entry.namespace))?.clone();
        if cdw10 & FORMAT != 0 {
            return refuse(StatusCode::INVALID_FORMAT);
        }
        if cdw10 & METADATA != 0 || cdw10 >> 9 & 7 >= CRYPTOGRAPHIC_ERASE {
            return Err(INVALID_FIELD);
        }
        let geometry = served.geometry();
        if geometry.read_only {
            return refuse(StatusCode::NAMESPACE_WRITE_PROTECTED);
        }
        if geometry.write_zeroes_blocks_max == 0 {
            return refuse(StatusCode::INVALID_FORMAT);
        }
        if !self.start_format(&served, command) {
            return Err(CommandStatus::failed(StatusCode::FORMAT_IN_PROGRESS));
        }
        Ok(Outcome::Later)
    }
}

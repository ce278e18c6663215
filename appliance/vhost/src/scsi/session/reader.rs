//! Reading of reads and writes to one LUN, as nearly all requests are.
//!
//! Invariant: the LUN that counts is the one that is loaded when the request is read.

use super::chains::Chains;
use super::groups::{Groups, lun_of};
use super::slots::{Kind, State};
use crate::scsi::lun::LunPlace;
use crate::scsi::request::{Batch, RequestChain};
use crate::scsi::response::{HEADER_BYTES, RESPONSE_LEN};
use crate::scsi::table::{LunEntry, LunTable};
use luge_block::{Request, Tag};
use luge_core::SessionId;
use luge_memory::Span;
use luge_scsi::{Transfer, transfer};
use luge_spec::virtio::scsi::{LunField, RequestHeader};
use luge_virtqueue::Direction;
use std::hint::select_unpredictable;
use std::mem::offset_of;

/// Place of the CDB in a header.
const CDB: usize = offset_of!(RequestHeader, cdb);

/// Reader of the requests of a batch to a LUN.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) batch: &'a Batch,
    pub(super) kind: Kind,
    pub(super) entry: &'a LunEntry,
    session: SessionId,
    lun: LunField,
}

impl<'a> Reader<'a> {
    /// Reader for a LUN that is there and whose commands the core may serve; none for any other.
    #[inline]
    pub(super) fn new(
        table: Option<&'a LunTable>,
        batch: &'a Batch,
        session: SessionId,
        lun: LunField,
    ) -> Option<Self> {
        let Some(place @ LunPlace::Lun(address)) = LunPlace::parse(lun) else { return None };
        let entry = table?.get(address).filter(|entry| entry.gate.is_open())?;
        Some(Self { batch, kind: Kind::new(State::Transfer, place), entry, session, lun })
    }

    /// Reads a request; none if it is no read or write to the LUN.
    #[inline(always)]
    pub(super) fn read(&self, chain: &RequestChain<'a>) -> Option<Transfer> {
        if lun_of(chain.header) != self.lun {
            return None;
        }
        let transfer = transfer(&chain.header.load_at::<CDB, 16>(), &self.entry.view)?;
        let reads = chain.direction == Direction::Written;
        (transfer.operation.is_read() == reads).then_some(transfer)
    }

    /// The request of a transfer, in a slot of the session. A run refuses it where its data is not exactly that of the blocks.
    #[inline(always)]
    pub(super) fn request(&self, transfer: Transfer, data: &'a [Span], slot: u16) -> Request<'a> {
        let Transfer { operation, lba, blocks } = transfer;
        Request { tag: Tag::new(self.session.0, slot), operation, lba, blocks, data }
    }

    /// Skips all chains to other LUNs, if the first chain is one, and they were not told apart before; returns whether
    /// it did.
    #[cold]
    #[inline(never)]
    pub(super) fn skip_other_luns(&self, chains: &mut Chains, groups: &mut Groups) -> bool {
        let header = self.batch.header_at(chains.first());
        let is_other = header.is_some_and(|header| lun_of(header) != self.lun);
        if !is_other || groups.are_formed() {
            return false;
        }
        groups.form(self.batch);
        chains.skip_all_but(groups.of(self.lun));
        true
    }
}

/// Bytes written to a read or write that succeeds. Not a branch: guests mix both, so that it would be mispredicted.
#[inline(always)]
pub(super) fn written(chain: &RequestChain<'_>) -> u32 {
    let reads = chain.direction == Direction::Written;
    select_unpredictable(reads, chain.bytes.wrapping_add(RESPONSE_LEN), HEADER_BYTES)
}

//! Runs of reads and writes: those of a batch that are to one LUN, and either single-segment requests or scattered ones.
//!
//! They need not follow each other. All task attributes are taken for SIMPLE, so that requests may overtake each other.

use super::request_session::RequestSession;
use super::slots::{Kind, Slot, Slots, State};
use super::turn::Turn;
use crate::scsi::lun::LunPlace;
use crate::scsi::request::{Batch, RequestChain};
use crate::scsi::response::{Answer, RESPONSE_LEN};
use crate::scsi::table::LunEntry;
use luge_block::{Refusal, Status, Tag};
use luge_core::SessionId;
use luge_scsi::{Transfer, transfer};
use luge_spec::virtio::scsi::{LunField, RequestHeader};
use luge_virtqueue::{Direction, Head};
use luge_volume::{Graph, Run};
use std::hint::select_unpredictable;

/// Outcome of an attempt to serve the chains of a batch that are to one LUN. Chains are bits.
pub(super) enum Group {
    /// Chains that were served.
    Served(u64),
    /// Their volume has no room for these.
    NoRoom(u64),
    /// The first one is not for a run.
    None,
}

/// LUN by which chains are read.
#[derive(Clone, Copy)]
struct Reader<'a> {
    session: SessionId,
    lun: LunField,
    kind: Kind,
    entry: &'a LunEntry,
    /// Size of a block in bytes, as a power of two.
    shift: u32,
}

/// Chains of a batch, a bit each: those to be looked at, and which of them were added to a run.
struct Chains {
    left: u64,
    added: u64,
    /// Chains to the LUN that are not for a run.
    odd: u64,
}

impl RequestSession {
    /// Serves the reads and writes of the batch that are to the LUN of chain `index`.
    #[inline(never)]
    pub(super) fn serve_group(&mut self, graph: &mut Graph, index: usize, turn: &mut Turn) -> Group {
        let Self { session, queue, batch, left, odd, slots, cancellations, table, .. } = self;
        let bit = bit(index);
        if *odd & bit != 0 || !cancellations.is_empty() {
            return Group::None;
        }
        let Some(lun) = lun_of(batch, index) else { return Group::None };
        let Some(reader) = reader(table.as_deref(), *session, lun) else { return Group::None };
        let Some(mut volume) = graph.volume(reader.entry.volume) else { return Group::None };
        let room = volume.room().min(turn.room);
        if room == 0 {
            return Group::NoRoom(same_lun(batch, *left, lun));
        }
        let before = reader.entry.stats.blocks();
        let mut run = volume.run();
        let mut chains = Chains { left: first_bits(*left & !*odd, room), added: 0, odd: 0 };
        add_single(batch, reader, &mut chains, slots, &mut run);
        if chains.added == 0 {
            add_scattered(batch, reader, &mut chains, slots, &mut run);
        }
        *odd |= chains.odd;
        if chains.added == 0 {
            return Group::None;
        }
        let mut untaken = 0_usize;
        run.submit(|tag, refusal| match refusal {
            Refusal::Failed(status) => {
                reader.entry.stats.refuse(status);
                let written = refuse(slots, tag, reader.entry, status);
                queue.complete(Head(tag.slot()), written);
            }
            Refusal::Full => {
                slots.free(Head(tag.slot()));
                untaken = untaken.wrapping_add(1);
            }
        });
        let taken = (chains.added.count_ones() as usize).saturating_sub(untaken);
        let served = first_bits(chains.added, taken);
        *left &= !served;
        turn.serve(served.count_ones() as usize);
        let blocks = reader.entry.stats.blocks().wrapping_sub(before);
        turn.bytes = turn.bytes.wrapping_add(blocks.wrapping_shl(reader.shift));
        if served == 0 { Group::NoRoom(chains.added) } else { Group::Served(served) }
    }
}

/// LUN of a chain that is in the layout.
#[inline]
fn lun_of(batch: &Batch, index: usize) -> Option<LunField> {
    let chain = batch.single_segment_at(index).or_else(|| batch.scattered_at(index))?;
    Some(header(&chain).lun)
}

#[inline(always)]
fn header(chain: &RequestChain<'_>) -> RequestHeader {
    zerocopy::transmute!(chain.header.load())
}

/// Reader of requests to a LUN that is there and whose commands the core may serve.
#[inline]
fn reader(
    table: Option<&crate::scsi::table::LunTable>,
    session: SessionId,
    lun: LunField,
) -> Option<Reader<'_>> {
    let Some(place @ LunPlace::Lun(address)) = LunPlace::parse(lun) else { return None };
    let entry = table?.get(address).filter(|entry| entry.gate.is_open())?;
    let shift = entry.view.block_bytes.trailing_zeros();
    Some(Reader { session, lun, kind: Kind::new(State::Transfer, place), entry, shift })
}

/// Chains of `bits` that are to a LUN and in the layout.
#[cold]
fn same_lun(batch: &Batch, bits: u64, lun: LunField) -> u64 {
    let indices = (0..u64::BITS).filter(|&index| bits.wrapping_shr(index) & 1 == 1);
    let same = indices.filter(|&index| lun_of(batch, index as usize) == Some(lun));
    same.fold(0, |same, index| same | bit(index as usize))
}

/// Adds single-segment requests.
///
/// Not inlined, so that the loop keeps its values in registers.
#[inline(never)]
fn add_single<'a>(
    batch: &'a Batch,
    reader: Reader<'_>,
    chains: &mut Chains,
    slots: &mut Slots,
    run: &mut Run<'_, '_, 'a>,
) {
    add_all(|index| batch.single_segment_at(index), reader, chains, slots, run);
}

/// Adds scattered requests.
#[inline(never)]
fn add_scattered<'a>(
    batch: &'a Batch,
    reader: Reader<'_>,
    chains: &mut Chains,
    slots: &mut Slots,
    run: &mut Run<'_, '_, 'a>,
) {
    add_all(|index| batch.scattered_at(index), reader, chains, slots, run);
}

/// Adds requests to a run, and gives them slots.
#[inline(always)]
fn add_all<'a>(
    chain: impl Fn(usize) -> Option<RequestChain<'a>>,
    reader: Reader<'_>,
    chains: &mut Chains,
    slots: &mut Slots,
    run: &mut Run<'_, '_, 'a>,
) {
    let (mut left, mut added, mut odd) = (chains.left, 0_u64, 0_u64);
    while left != 0 {
        let index = left.trailing_zeros() as usize;
        let rest = left & left.wrapping_sub(1);
        let bit = left ^ rest;
        left = rest;
        let Some(chain) = chain(index) else { continue };
        let header = header(&chain);
        if header.lun != reader.lun {
            continue;
        }
        if add(&chain, &header, reader, slots, run).is_some() {
            added |= bit;
        } else {
            odd |= bit;
        }
    }
    slots.add_busy(added.count_ones() as usize);
    (chains.added, chains.odd) = (added, odd);
}

/// Adds a request to a run, and gives it a slot; none if it is no read or write that is in order in every way.
#[inline(always)]
fn add<'a>(
    chain: &RequestChain<'a>,
    header: &RequestHeader,
    reader: Reader<'_>,
    slots: &mut Slots,
    run: &mut Run<'_, '_, 'a>,
) -> Option<()> {
    let slot = slots.vacant(chain.head)?;
    // Filled bit by bit, so that few values are to be kept; a slot is free whatever else it has, until its kind is set.
    (slot.response, slot.tag) = (Some(chain.response), header.tag.get());
    let Transfer { operation, lba, blocks } = transfer(&header.cdb, &reader.entry.view)?;
    (slot.lba, slot.blocks, slot.bytes) = (lba, blocks, chain.bytes);
    // Guests mix reads and writes: a branch on the direction would be mispredicted.
    let reads = chain.direction == Direction::Written;
    slot.written = select_unpredictable(reads, chain.bytes, 0).wrapping_add(RESPONSE_LEN);
    if operation.is_read() != reads {
        return None;
    }
    let tag = Tag::new(reader.session.0, chain.head.0);
    // Refused where the data is not exactly that of the blocks.
    run.add(&luge_block::Request { tag, operation, lba, blocks, data: chain.data })?;
    slot.kind = reader.kind;
    Some(())
}

/// Answers a transfer that the volume has refused; returns the bytes written.
#[cold]
fn refuse(slots: &mut Slots, tag: Tag, entry: &LunEntry, status: Status) -> u32 {
    let slot = slots.free(Head(tag.slot()));
    let ending = slot.transfer(tag).ended(&entry.view, status, None);
    let Slot { response, bytes, .. } = slot;
    let spans = response.map(Into::into);
    Answer::of(ending, entry.view.sense_format, bytes).write(spans.as_slice());
    RESPONSE_LEN
}

/// The bit of a chain.
#[inline]
pub(super) fn bit(index: usize) -> u64 {
    1_u64.wrapping_shl(u32::try_from(index).unwrap_or(0))
}

/// The first `count` bits of a word that are set.
#[inline]
fn first_bits(bits: u64, count: usize) -> u64 {
    let more = (bits.count_ones() as usize).saturating_sub(count);
    if more == 0 { bits } else { without_last(bits, more) }
}

/// A word without its `count` highest bits that are set.
#[cold]
fn without_last(mut bits: u64, count: usize) -> u64 {
    for _ in 0..count {
        bits &= !bits.checked_ilog2().map_or(0, |highest| 1_u64.wrapping_shl(highest));
    }
    bits
}

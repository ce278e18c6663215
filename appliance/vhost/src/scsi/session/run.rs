//! Runs of reads and writes: those of a group, single-segment requests first.

use super::request_session::RequestSession;
use super::slots::{Kind, Slot, Slots, State};
use super::turn::Turn;
use crate::scsi::lun::LunPlace;
use crate::scsi::request::{Batch, RequestChain};
use crate::scsi::response::{Answer, HEADER_BYTES, RESPONSE_LEN};
use crate::scsi::table::{LunEntry, LunTable};
use luge_block::{Refusal, Status, Tag};
use luge_core::SessionId;
use luge_scsi::{Transfer, transfer};
use luge_spec::virtio::scsi::{LunField, RequestHeader};
use luge_virtqueue::{Direction, Head};
use luge_volume::{Graph, Run};
use std::hint::select_unpredictable;
use std::mem::offset_of;

/// Places of fields in a header.
const TAG: usize = offset_of!(RequestHeader, tag);
const CDB: usize = offset_of!(RequestHeader, cdb);

/// Properties of a LUN by which its chains are read.
#[derive(Clone, Copy)]
struct Reader<'a> {
    session: SessionId,
    kind: Kind,
    entry: &'a LunEntry,
}

/// Chains of a group, a bit each.
struct Chains {
    /// Chains to be looked at.
    left: u64,
    /// Chains that are not for a run.
    odd: u64,
}

impl RequestSession {
    /// Serves the reads and writes of group `index`, as far as there is room; returns those for which the volume has
    /// none.
    #[inline(never)]
    pub(super) fn serve_group(&mut self, graph: &mut Graph, index: usize, turn: &mut Turn) -> u64 {
        let Self { session, queue, batch, left, groups, slots, table, .. } = self;
        let Some(group) = groups.get(index) else { return 0 };
        group.chains &= *left;
        let reader = reader(table.as_deref(), *session, group.lun);
        let way = reader.and_then(|reader| Some((reader, graph.volume(reader.entry.volume)?)));
        let Some((reader, mut volume)) = way else {
            group.chains = 0;
            return 0;
        };
        let room = volume.room().min(turn.room);
        if room == 0 {
            return group.chains;
        }
        let stats = &reader.entry.stats;
        let before = stats.blocks();
        let mut run = volume.run();
        let within = if room < batch.len() { first_bits(group.chains, room) } else { group.chains };
        let mut chains = Chains { left: within, odd: 0 };
        let single = add_single(batch, reader, &mut chains, slots, &mut run);
        let scattered =
            if chains.left == 0 { 0 } else { add_scattered(batch, reader, &mut chains, slots, &mut run) };
        let (added, mut untaken) = (run.len(), 0_usize);
        slots.add_busy(added);
        run.submit(|tag, refusal| match refusal {
            Refusal::Failed(status) => {
                stats.refuse(status);
                let written = refuse(slots, tag, reader.entry, status);
                queue.complete(Head(tag.slot()), written);
            }
            // The last ones of the run.
            Refusal::Full => {
                slots.free(Head(tag.slot()));
                untaken = untaken.wrapping_add(1);
            }
        });
        let served = if untaken == 0 { single | scattered } else { without_last(single, scattered, untaken) };
        *left &= !served;
        // Chains that are left are in no layout of a run.
        group.chains &= !(served | chains.odd | chains.left);
        turn.serve(added.wrapping_sub(untaken));
        let blocks = stats.blocks().wrapping_sub(before);
        turn.bytes = turn.bytes.wrapping_add(blocks.wrapping_mul(reader.entry.view.block_bytes.into()));
        if turn.room > 0 { group.chains } else { 0 }
    }
}

/// Reader of requests to a LUN that is there and whose commands the core may serve.
#[inline]
fn reader(table: Option<&LunTable>, session: SessionId, lun: LunField) -> Option<Reader<'_>> {
    let Some(place @ LunPlace::Lun(address)) = LunPlace::parse(lun) else { return None };
    let entry = table?.get(address).filter(|entry| entry.gate.is_open())?;
    Some(Reader { session, kind: Kind::new(State::Transfer, place), entry })
}

/// Adds single-segment requests; returns which.
///
/// Not inlined, so that the loop keeps its values in registers.
#[inline(never)]
fn add_single<'a>(
    batch: &'a Batch,
    reader: Reader<'_>,
    chains: &mut Chains,
    slots: &mut Slots,
    run: &mut Run<'_, '_, 'a>,
) -> u64 {
    add_all(|index| batch.single_segment_at(index), reader, chains, slots, run)
}

/// Adds scattered requests; returns which.
#[inline(never)]
fn add_scattered<'a>(
    batch: &'a Batch,
    reader: Reader<'_>,
    chains: &mut Chains,
    slots: &mut Slots,
    run: &mut Run<'_, '_, 'a>,
) -> u64 {
    add_all(|index| batch.scattered_at(index), reader, chains, slots, run)
}

/// Adds requests to a run, and gives them slots, which are to be counted; returns which. Those that are in another layout are left.
#[inline(always)]
fn add_all<'a>(
    chain: impl Fn(usize) -> Option<RequestChain<'a>>,
    reader: Reader<'_>,
    chains: &mut Chains,
    slots: &mut Slots,
    run: &mut Run<'_, '_, 'a>,
) -> u64 {
    let (mut left, mut others, mut odd) = (chains.left, 0_u64, 0_u64);
    while left != 0 {
        let index = left.trailing_zeros() as usize;
        let rest = left & left.wrapping_sub(1);
        match chain(index) {
            Some(chain) => {
                if add(&chain, reader, slots, run).is_none() {
                    odd |= left ^ rest;
                }
            }
            None => others |= left ^ rest,
        }
        left = rest;
    }
    let added = chains.left & !(others | odd);
    (chains.left, chains.odd) = (others, chains.odd | odd);
    added
}

/// Adds a request to a run, and gives it a slot; none if it is no read or write that is in order in every way.
///
/// Fields are loaded and stored one by one, so that few values are to be kept. A slot is free, whatever else it has,
/// until its kind is set.
#[inline(always)]
fn add<'a>(
    chain: &RequestChain<'a>,
    reader: Reader<'_>,
    slots: &mut Slots,
    run: &mut Run<'_, '_, 'a>,
) -> Option<()> {
    let slot = slots.vacant(chain.head)?;
    slot.response = Some(chain.response);
    slot.tag = u64::from_le_bytes(chain.header.load_at::<TAG, 8>());
    slot.bytes = chain.bytes;
    // Guests mix reads and writes: a branch on the direction would be mispredicted.
    let reads = chain.direction == Direction::Written;
    slot.written = select_unpredictable(reads, chain.bytes.wrapping_add(RESPONSE_LEN), HEADER_BYTES);
    let Transfer { operation, lba, blocks } =
        transfer(&chain.header.load_at::<CDB, 16>(), &reader.entry.view)?;
    (slot.lba, slot.blocks) = (lba, blocks);
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
    let answer = Answer::of(ending, entry.view.sense_format, bytes);
    answer.write(spans.as_slice());
    answer.written(0)
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
    if more == 0 { bits } else { without_highest(bits, more) }
}

/// Chains of a run without the last ones: its single-segment requests are before its scattered ones.
#[cold]
fn without_last(single: u64, scattered: u64, count: usize) -> u64 {
    let rest = count.saturating_sub(scattered.count_ones() as usize);
    without_highest(scattered, count) | without_highest(single, rest)
}

/// A word without its `count` highest bits that are set.
#[cold]
fn without_highest(mut bits: u64, count: usize) -> u64 {
    for _ in 0..count {
        bits &= !bits.checked_ilog2().map_or(0, |highest| 1_u64.wrapping_shl(highest));
    }
    bits
}

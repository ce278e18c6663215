//! Runs of reads and writes: those of a batch that are to one LUN, in their order.
//!
//! ```text
//!  (1) all chains     --all are to the LUN of the first one, as nearly always--> a run; over
//!  (1) all chains     --one is to another LUN--> (2) groups, of which this run goes on with its own
//!  (2) another group  --> a run
//! ```
//!
//! Invariant: the LUN that counts is the one that is loaded when the request is added to a run.

use super::groups::{Groups, lun_of};
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
use luge_volume::{Adder, Graph, Run};
use std::hint::select_unpredictable;
use std::mem::offset_of;

/// Places of fields in a header.
const TAG: usize = offset_of!(RequestHeader, tag);
const CDB: usize = offset_of!(RequestHeader, cdb);

/// Reader of requests to a LUN.
#[derive(Clone, Copy)]
struct Reader<'a> {
    batch: &'a Batch,
    session: SessionId,
    lun: LunField,
    kind: Kind,
    entry: &'a LunEntry,
}

/// Chains of a batch that may be for a run, a bit each.
struct Chains {
    /// Chains to be looked at, in their order.
    left: u64,
    /// Chains that are not for the run.
    skipped: u64,
}

impl Chains {
    /// Skips the first chain.
    fn skip_first(&mut self) {
        let rest = self.left & self.left.wrapping_sub(1);
        self.skipped |= self.left ^ rest;
        self.left = rest;
    }

    /// Skips all chains but those.
    fn skip_all_but(&mut self, chains: u64) {
        self.skipped |= self.left & !chains;
        self.left &= chains;
    }
}

impl RequestSession {
    /// Serves reads and writes of the batch, as far as there is room: those to each LUN as one run. Returns chains whose
    /// volumes have no room.
    #[inline]
    pub(super) fn serve_runs(&mut self, graph: &mut Graph, turn: &mut Turn) -> u64 {
        self.groups.clear();
        let Some(first) = self.first_lun() else { return 0 };
        let full = self.serve_run(graph, first, self.left, turn);
        full | self.serve_other_luns(graph, first, turn)
    }

    /// LUN of the first chain that has one.
    #[inline]
    fn first_lun(&self) -> Option<LunField> {
        let mut left = self.left;
        while left != 0 {
            if let Some(header) = self.batch.header_at(left.trailing_zeros() as usize) {
                return Some(lun_of(header));
            }
            left &= left.wrapping_sub(1);
        }
        None
    }

    /// Serves the groups of all LUNs but one, if there are any.
    #[inline]
    fn serve_other_luns(&mut self, graph: &mut Graph, first: LunField, turn: &mut Turn) -> u64 {
        let (mut full, mut index) = (0, 0_usize);
        while let Some(group) = self.groups.get(index) {
            let chains = group.chains & self.left;
            if group.lun != first && chains != 0 && turn.room > 0 {
                full |= self.serve_run(graph, group.lun, chains, turn);
            }
            index = index.wrapping_add(1);
        }
        full
    }

    /// Serves those of `chains` that are reads and writes to a LUN, as far as there is room; returns those to the LUN for
    /// which its volume has none. The groups are formed if there are other LUNs, or may be.
    #[inline(never)]
    fn serve_run(&mut self, graph: &mut Graph, lun: LunField, chains: u64, turn: &mut Turn) -> u64 {
        let Self { session, queue, batch, left, groups, slots, table, .. } = self;
        let reader = reader(table.as_deref(), batch, *session, lun);
        let way = reader.and_then(|reader| Some((reader, graph.volume(reader.entry.volume)?)));
        let Some((reader, mut volume)) = way else {
            groups.form(batch, chains);
            return 0;
        };
        let room = volume.room().min(turn.room);
        if room == 0 {
            groups.form(batch, chains);
            return chains & groups.of(lun);
        }
        let stats = &reader.entry.stats;
        let before = stats.blocks();
        let mut run = volume.run();
        let within = if room < batch.len() { first_bits(chains, room) } else { chains };
        let skipped = fill(&reader, within, slots, groups, &mut run);
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
        let added_chains = within & !skipped;
        let served = if untaken == 0 { added_chains } else { without_highest(added_chains, untaken) };
        *left &= !served;
        turn.serve(added.wrapping_sub(untaken));
        let blocks = stats.blocks().wrapping_sub(before);
        turn.bytes = turn.bytes.wrapping_add(blocks.wrapping_mul(reader.entry.view.block_bytes.into()));
        let unserved = chains & !(served | skipped);
        if unserved == 0 || turn.room == 0 {
            return 0;
        }
        groups.form(batch, chains);
        unserved & groups.of(lun)
    }
}

/// Reader of requests to a LUN that is there and whose commands the core may serve.
#[inline]
fn reader<'a>(
    table: Option<&'a LunTable>,
    batch: &'a Batch,
    session: SessionId,
    lun: LunField,
) -> Option<Reader<'a>> {
    let Some(place @ LunPlace::Lun(address)) = LunPlace::parse(lun) else { return None };
    let entry = table?.get(address).filter(|entry| entry.gate.is_open())?;
    Some(Reader { batch, session, lun, kind: Kind::new(State::Transfer, place), entry })
}

/// Adds requests to a run, and gives them slots, which are to be counted; returns the chains that are not for the run.
#[inline]
fn fill<'a>(
    reader: &Reader<'a>,
    chains: u64,
    slots: &mut Slots,
    groups: &mut Groups,
    run: &mut Run<'_, '_, 'a>,
) -> u64 {
    let left = add_single(reader, chains, slots, run.adder());
    if left == 0 {
        return 0;
    }
    let mut chains = Chains { left, skipped: 0 };
    while chains.left != 0 {
        let left = add_scattered(reader, chains.left, slots, run.adder());
        if left == chains.left {
            skip(reader, &mut chains, groups);
        } else {
            chains.left = left;
        }
        chains.left = add_single(reader, chains.left, slots, run.adder());
    }
    chains.skipped
}

/// Skips the first chain, which is not for the run; all that are to other LUNs, if it is the first of these.
#[inline(never)]
fn skip(reader: &Reader<'_>, chains: &mut Chains, groups: &mut Groups) {
    let header = reader.batch.header_at(chains.left.trailing_zeros() as usize);
    if header.is_some_and(|header| lun_of(header) != reader.lun) {
        groups.form(reader.batch, u64::MAX);
        chains.skip_all_but(groups.of(reader.lun));
    }
    chains.skip_first();
}

/// Adds single-segment requests, up to the first chain that is none for the run; returns that and those after it.
///
/// Not inlined, so that the loop keeps its values in registers.
#[inline(never)]
fn add_single<'a>(reader: &Reader<'a>, chains: u64, slots: &mut Slots, run: Adder<'_, 'a>) -> u64 {
    add_all(|index| reader.batch.single_segment_at(index), reader, chains, slots, run)
}

/// Adds scattered requests, as [`add_single`].
#[inline(never)]
fn add_scattered<'a>(reader: &Reader<'a>, chains: u64, slots: &mut Slots, run: Adder<'_, 'a>) -> u64 {
    add_all(|index| reader.batch.scattered_at(index), reader, chains, slots, run)
}

#[inline(always)]
fn add_all<'a>(
    chain: impl Fn(usize) -> Option<RequestChain<'a>>,
    reader: &Reader<'a>,
    chains: u64,
    slots: &mut Slots,
    mut run: Adder<'_, 'a>,
) -> u64 {
    let mut left = chains;
    while left != 0 {
        let chain = chain(left.trailing_zeros() as usize);
        if chain.and_then(|chain| add(&chain, reader, slots, &mut run)).is_none() {
            return left;
        }
        left &= left.wrapping_sub(1);
    }
    0
}

/// Adds a request to a run, and gives it a slot; none if it is no read or write to the LUN that is in order in every way.
///
/// Fields are loaded and stored one by one, so that few values are to be kept. A slot is free, whatever else it has,
/// until its kind is set.
#[inline(always)]
fn add<'a>(
    chain: &RequestChain<'a>,
    reader: &Reader<'_>,
    slots: &mut Slots,
    run: &mut Adder<'_, 'a>,
) -> Option<()> {
    let slot = slots.vacant(chain.head)?;
    if lun_of(chain.header) != reader.lun {
        return None;
    }
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

/// A word without its `count` highest bits that are set.
#[cold]
fn without_highest(mut bits: u64, count: usize) -> u64 {
    for _ in 0..count {
        bits &= !bits.checked_ilog2().map_or(0, |highest| 1_u64.wrapping_shl(highest));
    }
    bits
}

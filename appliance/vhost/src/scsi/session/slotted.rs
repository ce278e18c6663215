//! Runs of any device: each request has a slot until it ends.

use super::chains::{Chains, add_all, without_highest};
use super::groups::Groups;
use super::parts::Parts;
use super::reader::{Reader, written};
use super::slots::{Slot, Slots};
use crate::scsi::request::RequestChain;
use crate::scsi::response::Answer;
use crate::scsi::table::LunEntry;
use luge_block::{Refusal, Status, Tag};
use luge_spec::virtio::scsi::RequestHeader;
use luge_virtqueue::Head;
use luge_volume::{Adder, Run};
use std::mem::offset_of;

/// Place of the tag in a header.
const TAG: usize = offset_of!(RequestHeader, tag);

/// Serves requests of any device, which have slots. Leaves those for which there is no room.
#[inline(never)]
pub(super) fn serve_in_slots<'a>(
    reader: &Reader<'a>,
    chains: &mut Chains,
    Parts { queue, slots, groups }: &mut Parts<'_>,
    run: &mut Run<'_, '_, 'a>,
) {
    let all = chains.left;
    fill(reader, chains, slots, groups, run);
    slots.add_busy(run.len());
    let mut untaken = 0_usize;
    run.submit(|tag, refusal| match refusal {
        Refusal::Failed(status) => {
            reader.entry.stats.refuse(status);
            let written = refuse(slots, tag, reader.entry, status);
            queue.complete(Head(tag.slot()), written);
        }
        // The last ones of the run.
        Refusal::Full => {
            slots.free(Head(tag.slot()));
            untaken = untaken.wrapping_add(1);
        }
    });
    if untaken > 0 {
        let added = all & !chains.skipped;
        chains.left = added & !without_highest(added, untaken);
    }
}

/// Adds requests to a run, and gives them slots, which are to be counted. Leaves none; others are skipped.
#[inline]
fn fill<'a>(
    reader: &Reader<'a>,
    chains: &mut Chains,
    slots: &mut Slots,
    groups: &mut Groups,
    run: &mut Run<'_, '_, 'a>,
) {
    chains.left = add_single(reader, chains.left, slots, run.adder());
    while chains.left != 0 {
        let left = add_scattered(reader, chains.left, slots, run.adder());
        if left == chains.left {
            if !reader.skip_other_luns(chains, groups) {
                chains.skip_first();
            }
        } else {
            chains.left = left;
        }
        chains.left = add_single(reader, chains.left, slots, run.adder());
    }
}

/// Adds single-segment requests, up to the first chain that is none for the run; returns that and those after it.
///
/// Not inlined, so that the loop keeps its values in registers.
#[inline(never)]
fn add_single<'a>(reader: &Reader<'a>, chains: u64, slots: &mut Slots, mut run: Adder<'_, 'a>) -> u64 {
    add_all(chains, |index| add(&reader.batch.single_segment_at(index)?, reader, slots, &mut run))
}

/// Adds scattered requests, as [`add_single`].
#[inline(never)]
fn add_scattered<'a>(reader: &Reader<'a>, chains: u64, slots: &mut Slots, mut run: Adder<'_, 'a>) -> u64 {
    add_all(chains, |index| add(&reader.batch.scattered_at(index)?, reader, slots, &mut run))
}

/// Adds a request to a run, and gives it a slot; none if it is no read or write to the LUN that is in order in every way.
///
/// Fields are loaded and stored one by one, so that few values are to be kept. A slot is free, whatever else it has,
/// until its kind is set.
#[inline(always)]
fn add<'a>(
    chain: &RequestChain<'a>,
    reader: &Reader<'a>,
    slots: &mut Slots,
    run: &mut Adder<'_, 'a>,
) -> Option<()> {
    let slot = slots.vacant(chain.head)?;
    slot.response = Some(chain.response);
    slot.tag = u64::from_le_bytes(chain.header.load_at::<TAG, 8>());
    slot.bytes = chain.bytes;
    slot.written = written(chain);
    let transfer = reader.read(chain)?;
    (slot.lba, slot.blocks) = (transfer.lba, transfer.blocks);
    run.add(&reader.request(transfer, chain.data, chain.head.0))?;
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

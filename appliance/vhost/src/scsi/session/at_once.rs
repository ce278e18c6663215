//! Runs of a device that needs no time: single-segment requests end within the run.
//!
//! They have no slots, because none of them is ever in flight: nobody can wait for one, or cancel it.

use super::chains::{Chains, add_all};
use super::parts::Parts;
use super::reader::{Reader, written};
use super::slots::Slots;
use crate::scsi::response::store_good;
use luge_block::Refusal;
use luge_virtqueue::Head;
use luge_volume::{Adder, Run};

/// Serves single-segment requests to the LUN, up to the first other one. Leaves those that it does not serve.
#[inline(never)]
pub(super) fn serve_at_once<'a>(
    reader: &Reader<'a>,
    chains: &mut Chains,
    Parts { queue, slots, groups }: &mut Parts<'_>,
    run: &mut Run<'_, '_, 'a>,
) {
    let all = chains.left;
    chains.left = add_at_once(reader, all, slots, run.adder());
    if chains.left != 0 && reader.skip_other_luns(chains, groups) {
        chains.left = add_at_once(reader, chains.left, slots, run.adder());
    }
    let mut added = all & !(chains.left | chains.skipped);
    let refusal = run.serve(|ended| {
        queue.complete_all(ended.iter().map_while(|_| {
            let index = added.trailing_zeros() as usize;
            added &= added.wrapping_sub(1);
            end(reader, index)
        }));
    });
    chains.left |= added;
    // It is submitted by itself, and so is told what it has failed by.
    if matches!(refusal, Some(Refusal::Failed(_))) {
        chains.skip_first();
    }
}

/// Adds single-segment requests, up to the first chain that is none for the run; returns that and those after it.
///
/// Not inlined, so that the loop keeps its values in registers.
#[inline(never)]
fn add_at_once<'a>(reader: &Reader<'a>, chains: u64, slots: &Slots, mut run: Adder<'_, 'a>) -> u64 {
    add_all(chains, |index| {
        let chain = reader.batch.single_segment_at(index)?;
        // A chain that is in flight breaks the ring.
        slots.is_vacant(chain.head).then_some(())?;
        let transfer = reader.read(&chain)?;
        // Nobody looks at the slot.
        run.add(&reader.request(transfer, chain.data, 0))
    })
}

/// Ends a request that has succeeded.
#[inline(always)]
fn end(reader: &Reader<'_>, index: usize) -> Option<(Head, u32)> {
    let chain = reader.batch.single_segment_at(index)?;
    store_good(chain.response);
    Some((chain.head, written(&chain)))
}

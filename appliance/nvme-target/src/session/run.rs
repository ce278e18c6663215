//! Short transfers that follow each other in a queue, of one namespace: read, checked and submitted together.
//!
//! Nothing of them is kept here: a command that the volume does not take stays in its queue.

use super::QueueSession;
use super::attempt::Served;
use super::slots::{InFlight, Slots};
use super::turn::{BATCH, Turn};
use crate::commands::{ShortReader, ShortTransfer};
use crate::ids::{CommandId, NamespaceId};
use crate::queues::Piece;
use luge_block::{Completion, Refusal, Request, Tag};
use luge_volume::{Graph, Run};

impl QueueSession {
    /// Serves short transfers at the head of the queue with that index: `most` of them at most.
    #[inline(never)]
    pub(super) fn serve_run(
        &mut self,
        graph: &mut Graph,
        index: u16,
        most: usize,
        turn: &mut Turn,
    ) -> Served {
        let Self { session, rules, completion, queues, slots, memory, namespaces, transfers, .. } = self;
        let Some(queue) = queues.get_mut(usize::from(index)).and_then(Option::as_mut) else {
            return Served::None;
        };
        let Some(piece) = queue.next(u32::try_from(most).unwrap_or(u32::MAX)) else { return Served::None };
        let Some(id) = namespace_of(&piece) else { return Served::None };
        let namespace = namespaces.get(id).filter(|namespace| namespace.refusal.is_none());
        let Some(namespace) = namespace else { return Served::None };
        let Some(mut volume) = graph.volume(namespace.volume) else { return Served::None };
        let room = volume.room();
        if room == 0 {
            return Served::Full(0);
        }
        let most = room.min(piece.len as usize).min(BATCH);
        piece.prefetch(most);
        completion.prefetch(most);
        let block_bytes = namespace.geometry.block_bytes;
        let reader = ShortReader::new(memory.lookup(), id, block_bytes, rules.page_bytes);
        let mut reader = reader.with_durability(rules.durability);
        let transfers = transfers.get_mut(..most).unwrap_or_default();
        let read = reader.read_all(piece.entries, piece.first, transfers);
        let before = namespace.stats.blocks();
        let filler =
            Filler { tag: Tag::new(session.0, 0), command: InFlight::new(index, queue.id(), CommandId(0)) };
        let mut run = volume.run();
        let transfers = transfers.get(..read).unwrap_or_default();
        let count = filler.fill(transfers, slots, &mut run);
        if count == 0 {
            return Served::None;
        }
        let mut failed = heapless::Vec::<Completion, BATCH>::new();
        let mut untaken = 0_usize;
        run.submit(|tag, refusal| match refusal {
            // There is room: no more are refused than were added.
            Refusal::Failed(status) => failed.push(Completion::new(tag, status)).unwrap_or(()),
            Refusal::Full => {
                slots.free(tag.slot());
                untaken = untaken.wrapping_add(1);
            }
        });
        drop(run);
        let taken = count.wrapping_sub(untaken);
        queue.advance(u32::try_from(taken).unwrap_or(0));
        let blocks = namespace.stats.blocks().wrapping_sub(before);
        turn.took(taken, blocks.wrapping_mul(block_bytes.into()));
        if !failed.is_empty() {
            self.refuse_all(&failed);
        }
        if untaken == 0 { Served::Some(taken) } else { Served::Full(taken) }
    }
}

/// Namespace of the first command.
#[inline]
fn namespace_of(piece: &Piece<8>) -> Option<NamespaceId> {
    let start = piece.entries.get_word::<0>(piece.first)?;
    Some(NamespaceId(u32::try_from(start >> 32).unwrap_or(0)))
}

/// Filler of a run with the short transfers of a queue.
struct Filler {
    /// Tag of slot 0.
    tag: Tag,
    /// Command 0 of the queue.
    command: InFlight,
}

impl Filler {
    /// Adds transfers to a run, up to the first one that the run does not take; returns how many.
    ///
    /// Not inlined, so that the loop keeps its values in registers.
    #[inline(never)]
    fn fill<'a>(
        &self,
        transfers: &'a [ShortTransfer],
        slots: &mut Slots,
        run: &mut Run<'_, '_, 'a>,
    ) -> usize {
        let Self { tag, command } = *self;
        slots.fill_all(transfers.iter(), |transfer, slot| {
            let (operation, lba, blocks) = (transfer.operation(), transfer.lba, transfer.blocks());
            let data = std::slice::from_ref(&transfer.data);
            run.add(&Request { tag: tag.at_slot(slot), operation, lba, blocks, data })?;
            Some(command.numbered(transfer.command()))
        })
    }
}

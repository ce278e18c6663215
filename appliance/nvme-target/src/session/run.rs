//! Short transfers that follow each other in a queue, of one namespace: read, checked and submitted together.
//!
//! Nothing of them is kept here: a command that the volume does not take stays in its queue.

use super::QueueSession;
use super::attempt::Served;
use super::slots::{InFlight, Slots};
use super::turn::{BATCH, Turn};
use crate::commands::{ShortReader, ShortTransfer};
use crate::ids::{NamespaceId, QueueId};
use crate::queues::Piece;
use luge_block::{Completion, Refusal, Request, Tag};
use luge_core::SessionId;
use luge_memory::Span;
use luge_volume::{Graph, Run};

/// Filler of a run with the short transfers of a queue.
struct Filler<'a> {
    reader: ShortReader<'a>,
    session: SessionId,
    /// The queue, as slots name it.
    index: u16,
    queue: QueueId,
    slots: &'a mut Slots,
}

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
        let Self { session, rules, completion, queues, slots, memory, namespaces, spans, .. } = self;
        let Some(queue) = queues.get_mut(usize::from(index)).and_then(Option::as_mut) else {
            return Served::None;
        };
        let Some(piece) = queue.next(u32::try_from(most).unwrap_or(u32::MAX)) else { return Served::None };
        let Some(id) = namespace_of(&piece) else { return Served::None };
        let Some(namespace) = namespaces.get(id) else { return Served::None };
        let Some(mut volume) = graph.volume(namespace.volume) else { return Served::None };
        let room = volume.room();
        if room == 0 {
            return Served::Full(0);
        }
        let spans = spans.get_mut(..room.min(piece.len as usize).min(BATCH)).unwrap_or_default();
        piece.prefetch(spans.len());
        completion.prefetch(spans.len());
        let before = namespace.stats.blocks();
        let reader = ShortReader {
            lookup: memory.lookup(),
            namespace: id.0,
            block_shift: namespace.block_shift(),
            page_bytes: rules.page_bytes.into(),
        };
        let mut filler = Filler { reader, session: *session, index, queue: queue.id(), slots };
        let mut run = volume.run();
        let count = filler.fill(&piece, spans, &mut run);
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
        turn.took(taken, blocks.wrapping_mul(namespace.geometry.block_bytes.into()));
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

impl Filler<'_> {
    /// Adds transfers to a run, one for each span, up to the first command that is none; returns how many.
    ///
    /// Not inlined, so that the loop keeps its values in registers.
    #[inline(never)]
    fn fill<'a>(&mut self, piece: &Piece<8>, spans: &'a mut [Span], run: &mut Run<'_, '_, 'a>) -> usize {
        let Self { reader, session, index, queue, slots } = self;
        let added = spans.iter_mut().zip(piece.first..).map_while(|(span, at)| {
            let ShortTransfer { command, operation, lba, blocks, data } = reader.read(&piece.entries, at)?;
            *span = data;
            let data = std::slice::from_ref(&*span);
            let tag = Tag::new(session.0, slots.next());
            run.add(&Request { tag, operation, lba, blocks, data })?;
            slots.fill(InFlight::new(*index, *queue, command))
        });
        added.count()
    }
}

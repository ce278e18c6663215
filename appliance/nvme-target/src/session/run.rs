//! Reads and writes of a queue, of one namespace: read, checked and submitted together.
//!
//! Nothing of them is kept here: a command that the volume does not take stays in its queue.

use super::attempt::Served;
use super::command_memory::CommandMemory;
use super::queue_session::QueueSession;
use super::slots::{InFlight, Slots};
use super::transfer::{Entry, Transfer, TransferMemory, TransferReader, TransferRules};
use super::turn::{BATCH, Turn};
use crate::ids::{CommandId, NamespaceId};
use crate::queues::{Piece, Places, SubmissionQueue};
use luge_block::{Completion, Refusal, Request, Tag};
use luge_memory::Span;
use luge_volume::{Graph, Run};

/// Commands of a queue that may be served by one run.
#[derive(Clone, Copy)]
pub(super) enum Candidates {
    /// So many commands at the head.
    Next(u32),
    /// Commands at places in the window, which others may lie between.
    At(Places),
}

impl Candidates {
    /// The piece of the queue that has them.
    #[inline]
    fn piece(self, queue: &SubmissionQueue) -> Option<Piece<8>> {
        match self {
            Self::Next(count) => queue.next(count),
            Self::At(_) => queue.window(),
        }
    }

    /// Namespace of the first one.
    #[inline]
    fn namespace(self, piece: &Piece<8>) -> Option<NamespaceId> {
        let ahead = match self {
            Self::Next(_) => 0,
            Self::At(places) => places.lowest(),
        };
        let start = piece.entries.get_word::<0>(piece.first.wrapping_add(ahead))?;
        Some(NamespaceId(u32::try_from(start >> 32).unwrap_or(0)))
    }

    /// Number of candidates in their piece.
    #[inline]
    fn count(self, piece: &Piece<8>) -> usize {
        let count = match self {
            Self::Next(_) => piece.len,
            Self::At(places) => places.count(),
        };
        count as usize
    }

    /// Takes the first `count` of them off their queue.
    #[inline]
    fn take(self, queue: &mut SubmissionQueue, count: usize) {
        let count = u32::try_from(count).unwrap_or(0);
        match self {
            Self::Next(_) => queue.advance(count),
            Self::At(places) => queue.take(places.up_to(count)),
        }
    }
}

impl QueueSession {
    /// Serves reads and writes of the queue with that index, up to the first candidate that is for no run or for another
    /// namespace.
    #[inline(never)]
    pub(super) fn serve_run(
        &mut self,
        graph: &mut Graph,
        index: u16,
        candidates: Candidates,
        turn: &mut Turn,
    ) -> Served {
        let Self {
            session, rules, queues, slots, memory, namespaces, spans, bit_bucket, command_memory, ..
        } = self;
        let Some(queue) = queues.get_mut(usize::from(index)).and_then(Option::as_mut) else {
            return Served::None;
        };
        let Some(piece) = candidates.piece(queue) else { return Served::None };
        let Some(id) = candidates.namespace(&piece) else { return Served::None };
        let namespace = namespaces.get(id).filter(|namespace| namespace.refusal.is_none());
        let Some(namespace) = namespace else { return Served::None };
        let Some(mut volume) = graph.volume(namespace.volume) else { return Served::None };
        let room = volume.room();
        if room == 0 {
            return Served::Full(0);
        }
        let most = candidates.count(&piece).min(room).min(BATCH);
        let rules = TransferRules::new(id, &namespace.geometry, rules);
        let (places, spans) = spans.split_at_mut_checked(BATCH).unwrap_or_default();
        let transfers =
            TransferMemory { lookup: memory.lookup(), bucket: bit_bucket, spans, steps: turn.steps };
        let reader = TransferReader::new(piece, rules, transfers);
        let before = namespace.stats.blocks();
        let mut filler = Filler {
            reader,
            tag: Tag::new(session.0, 0),
            command: InFlight::new(index, queue.id(), CommandId(0)),
        };
        let places = places.get_mut(..most).unwrap_or_default();
        let mut run = volume.run();
        let count = match candidates {
            Candidates::Next(_) => filler.fill(filler.reader.entries(), places, slots, &mut run),
            Candidates::At(at) => filler.fill(filler.reader.entries_at(at), places, slots, &mut run),
        };
        turn.looked_at(turn.steps.wrapping_sub(filler.reader.steps()));
        if count == 0 {
            return Served::None;
        }
        if let Some(notes) = command_memory {
            note_all(notes, &run);
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
        candidates.take(queue, taken);
        let blocks = namespace.stats.blocks().wrapping_sub(before);
        turn.took(taken, blocks.wrapping_mul(namespace.geometry.block_bytes.into()));
        if !failed.is_empty() {
            self.refuse_all(&failed);
        }
        if untaken == 0 { Served::Some(taken) } else { Served::Full(taken) }
    }
}

/// Notes the memory of the commands of a run.
#[cold]
#[inline(never)]
fn note_all(notes: &mut CommandMemory, run: &Run<'_, '_, '_>) {
    run.transfers().for_each(|(tag, data)| notes.note(tag.slot(), data));
}

/// Filler of a run with reads and writes of a queue.
struct Filler<'m, 'd> {
    reader: TransferReader<'m, 'd>,
    /// Tag of slot 0.
    tag: Tag,
    /// Command 0 of the queue.
    command: InFlight,
}

impl<'d> Filler<'_, 'd> {
    /// Adds reads and writes to a run, up to the first entry that is none or that the run does not take; returns how
    /// many. Each has one of `places`.
    ///
    /// Not inlined, so that the loop keeps its values in registers.
    #[inline(never)]
    fn fill(
        &mut self,
        entries: impl Iterator<Item = Entry>,
        places: &'d mut [Span],
        slots: &mut Slots,
        run: &mut Run<'_, '_, 'd>,
    ) -> usize {
        slots.fill_all(places.len(), entries.zip(places), |(entry, place), slot| {
            match self.reader.read_short(entry, place, run.block_bytes()) {
                Some(transfer) => self.add(&transfer, slot, run),
                None => self.add_scattered(entry, slot, run),
            }
        })
    }

    /// Adds a read or write to a run, for a slot; none if the run does not take it.
    #[inline(always)]
    fn add(&self, transfer: &Transfer<'d>, slot: u16, run: &mut Run<'_, '_, 'd>) -> Option<InFlight> {
        let &Transfer { command, operation, lba, blocks, data } = transfer;
        run.add(&Request { tag: self.tag.at_slot(slot), operation, lba, blocks, data })?;
        Some(self.command.numbered(command))
    }

    /// Adds a command to a run whose data is not in one page.
    #[inline(never)]
    fn add_scattered(&mut self, entry: Entry, slot: u16, run: &mut Run<'_, '_, 'd>) -> Option<InFlight> {
        let transfer = self.reader.read_scattered(entry)?;
        self.add(&transfer, slot, run)
    }
}

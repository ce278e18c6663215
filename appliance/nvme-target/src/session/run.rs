//! Reads and writes of a queue, of one namespace: read, checked and submitted together.
//!
//! Nothing of them is kept here: a command that the volume does not take stays in its queue.

use super::at_once::Ends;
use super::attempt::Served;
use super::candidates::Candidates;
use super::command_memory::CommandMemory;
use super::queue_session::QueueSession;
use super::slots::{InFlight, Slots};
use super::transfer::{Entry, TransferMemory, TransferReader, TransferRules};
use super::turn::{BATCH, Turn};
use crate::ids::CommandId;
use crate::queues::SubmissionQueue;
use luge_block::{Completion, Refusal, Tag};
use luge_memory::Span;
use luge_volume::{Adder, Graph, Run};

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
            session,
            rules,
            completion,
            queues,
            slots,
            memory,
            namespaces,
            spans,
            bit_bucket,
            command_memory,
            interrupts,
            now,
            ..
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
        let places = places.get_mut(..most).unwrap_or_default();
        let transfers =
            TransferMemory { lookup: memory.lookup(), bucket: bit_bucket, spans, steps: turn.steps };
        let reader = TransferReader::new(piece, rules, transfers);
        let before = namespace.stats.blocks();
        let command = InFlight::new(index, queue.id(), CommandId(0));
        let mut filler = Filler { reader, tag: Tag::new(session.0, 0), command };
        let mut run = volume.run();
        let mut failed = heapless::Vec::<Completion, BATCH>::new();
        let served = if run.ends_at_once(most) {
            filler.fill_at_once(candidates, places, &mut run);
            let served = Ends { candidates, command, queue, completion }.serve(&mut run);
            interrupts.note(u32::try_from(served.count()).unwrap_or(u32::MAX), *now);
            served
        } else {
            filler.fill(candidates, places, slots, &mut run);
            if let Some(notes) = command_memory {
                note_all(notes, &run);
            }
            submit(&mut run, Submission { candidates, queue, slots, failed: &mut failed })
        };
        drop(run);
        turn.looked_at(turn.steps.wrapping_sub(filler.reader.steps()));
        let blocks = namespace.stats.blocks().wrapping_sub(before);
        turn.took(served.count(), blocks.wrapping_mul(namespace.geometry.block_bytes.into()));
        if !failed.is_empty() {
            self.refuse_all(&failed);
        }
        served
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
    /// Adds reads and writes to a run, up to the first candidate that is none or that the run does not take. Each has one
    /// of `places`, and a slot.
    #[inline(always)]
    fn fill(
        &mut self,
        candidates: Candidates,
        places: &'d mut [Span],
        slots: &mut Slots,
        run: &mut Run<'_, '_, 'd>,
    ) {
        match candidates {
            Candidates::Next(_) => self.fill_with(self.reader.entries(), places, slots, run),
            Candidates::At(at) => self.fill_with(self.reader.entries_at(at), places, slots, run),
        }
    }

    /// Adds reads and writes to a run as [`Self::fill`] does, whose tags have the identifiers of commands in the places
    /// of slots.
    #[inline(always)]
    fn fill_at_once(&mut self, candidates: Candidates, places: &'d mut [Span], run: &mut Run<'_, '_, 'd>) {
        match candidates {
            Candidates::Next(_) => self.fill_at_once_with(self.reader.entries(), places, run),
            Candidates::At(at) => self.fill_at_once_with(self.reader.entries_at(at), places, run),
        }
    }

    /// Adds entries to a run, each with a slot. Not inlined, so that the loop keeps its values in registers.
    #[inline(never)]
    fn fill_with(
        &mut self,
        entries: impl Iterator<Item = Entry>,
        places: &'d mut [Span],
        slots: &mut Slots,
        run: &mut Run<'_, '_, 'd>,
    ) {
        let (tag, mut adder) = (self.tag, run.adder());
        let block_bytes = adder.block_bytes();
        slots.fill_all(places.len(), entries.zip(places), |(entry, place), slot| {
            let command = match self.reader.read_short(entry, place, block_bytes) {
                Some(transfer) => {
                    adder.add(&transfer.request(tag.at_slot(slot)))?;
                    transfer.command
                }
                None => self.add_scattered(entry, Some(slot), adder.again())?,
            };
            Some(self.command.numbered(command))
        });
    }

    /// Adds entries to a run without slots. Not inlined, as [`Self::fill_with`].
    #[inline(never)]
    fn fill_at_once_with(
        &mut self,
        entries: impl Iterator<Item = Entry>,
        places: &'d mut [Span],
        run: &mut Run<'_, '_, 'd>,
    ) {
        let (tag, mut adder) = (self.tag, run.adder());
        let block_bytes = adder.block_bytes();
        for (entry, place) in entries.zip(places) {
            let added = match self.reader.read_short(entry, place, block_bytes) {
                Some(transfer) => adder.add(&transfer.request(tag.at_slot(transfer.command.0))),
                None => self.add_scattered(entry, None, adder.again()).map(drop),
            };
            if added.is_none() {
                break;
            }
        }
    }

    /// Adds a command whose data is not in one page to a run. The tag has its slot, or its identifier if it has none.
    #[inline(never)]
    fn add_scattered(
        &mut self,
        entry: Entry,
        slot: Option<u16>,
        mut adder: Adder<'_, 'd>,
    ) -> Option<CommandId> {
        let transfer = self.reader.read_scattered(entry)?;
        let CommandId(command) = transfer.command;
        adder.add(&transfer.request(self.tag.at_slot(slot.unwrap_or(command))))?;
        Some(transfer.command)
    }
}

/// Places that commands of a run leave, whose requests take time.
struct Submission<'s> {
    candidates: Candidates,
    queue: &'s mut SubmissionQueue,
    slots: &'s mut Slots,
    /// Requests that the volume refuses for good.
    failed: &'s mut heapless::Vec<Completion, BATCH>,
}

/// Submits a run, whose commands leave their queue as far as the volume takes them.
#[inline]
fn submit(run: &mut Run<'_, '_, '_>, submission: Submission<'_>) -> Served {
    let Submission { candidates, queue, slots, failed } = submission;
    let (count, mut untaken) = (run.len(), 0_usize);
    if count == 0 {
        return Served::None;
    }
    run.submit(|tag, refusal| match refusal {
        // There is room: no more are refused than were added.
        Refusal::Failed(status) => failed.push(Completion::new(tag, status)).unwrap_or(()),
        Refusal::Full => {
            slots.free(tag.slot());
            untaken = untaken.wrapping_add(1);
        }
    });
    let taken = count.wrapping_sub(untaken);
    candidates.take(queue, taken);
    if untaken == 0 { Served::Some(taken) } else { Served::Full(taken) }
}

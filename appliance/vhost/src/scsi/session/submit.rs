//! Requests that go to their volume one by one.

use super::pending::List;
use super::slots::{Kind, Slot};
use crate::pieces::{CutSpans, copy_out};
use crate::scsi::decision::Todo;
use crate::scsi::response::{Answer, HEADER_BYTES, RESPONSE_LEN, WholeResponse};
use crate::scsi::table::LunEntry;
use luge_block::{Lba, Operation, Refusal, Request, Status, Tag};
use luge_memory::Span;
use luge_scsi::{BlockCommand, Ending, UNMAP_LIST_BYTES_MAX, UnmapCommand, UnmapRanges};
use luge_spec::scsi::ScsiStatus;
use luge_volume::{Graph, ListId, ListRequest, VolumeHandle};
use std::ops::Range;

/// Reason why a volume has not taken a request.
pub(super) enum Untaken {
    /// No room.
    Full,
    Answer(Answer),
}

/// A request for a volume.
#[derive(Clone, Copy)]
pub(super) struct Submission<'a> {
    pub(super) tag: Tag,
    pub(super) entry: &'a LunEntry,
    pub(super) todo: Todo,
    /// Bytes of data that the initiator has given.
    pub(super) bytes: u32,
    /// Bytes of them that are left over.
    pub(super) residual: u32,
}

/// Place of the data of a request: a range of a list, or spans.
pub(super) struct DataPlace<'a> {
    /// List that has the data; none where it is in `spans`. Taken where the volume takes the request.
    pub(super) list: &'a mut Option<List>,
    pub(super) range: Range<usize>,
    pub(super) spans: &'a mut [Span],
}

impl Submission<'_> {
    /// Submits the request to its volume.
    pub(super) fn submit_from(&self, graph: &mut Graph, place: DataPlace<'_>) -> Result<(), Untaken> {
        let DataPlace { list, range, spans } = place;
        let Some(mut volume) = graph.volume(self.entry.volume) else {
            return Err(self.answer(Ending::of(Status::Gone)));
        };
        let of_volume = list.take_if(|list| list.volume == self.entry.volume);
        if let Some(List { id, volume: lender }) = of_volume {
            return self.submit_list(&mut volume, id, &range).map_err(|(untaken, id)| {
                *list = id.map(|id| List { id, volume: lender });
                untaken
            });
        }
        if list.is_some() {
            // Another LUN has its address now.
            return Err(self.answer(Ending::of(Status::Gone)));
        }
        self.submit(&mut volume, spans)
    }

    /// Submits the request, whose data is at the beginning of `spans`.
    fn submit(&self, volume: &mut VolumeHandle<'_>, spans: &mut [Span]) -> Result<(), Untaken> {
        match self.todo {
            Todo::Blocks(command) => self.submit_blocks(volume, command, spans),
            Todo::Unmap(command) => {
                let ranges = self.ranges(command, spans)?;
                self.unmap(volume, &ranges)
            }
            Todo::Flush => {
                let (operation, tag) = (Operation::Flush, self.tag);
                let flush = Request { tag, operation, lba: Lba(0), blocks: 0, data: &[] };
                volume.submit(&flush).map_err(|refusal| self.untaken(refusal))
            }
        }
    }

    fn submit_blocks(
        &self,
        volume: &mut VolumeHandle<'_>,
        command: BlockCommand,
        spans: &mut [Span],
    ) -> Result<(), Untaken> {
        let BlockCommand { operation, lba, blocks, .. } = command;
        let cut = CutSpans::cut(spans, self.data_bytes());
        let data = spans.get(..cut.count).unwrap_or_default();
        let submitted = volume.submit(&Request { tag: self.tag, operation, lba, blocks, data });
        cut.undo(spans);
        submitted.map_err(|refusal| self.untaken(refusal))
    }

    /// Submits the request, whose data is at the beginning of the range of a list. Gives the list back where the volume has
    /// not taken it.
    #[expect(clippy::result_large_err, reason = "an answer, which is made rarely")]
    fn submit_list(
        &self,
        volume: &mut VolumeHandle<'_>,
        list: ListId,
        range: &Range<usize>,
    ) -> Result<(), (Untaken, Option<ListId>)> {
        let command = match self.todo {
            Todo::Blocks(command) => command,
            Todo::Unmap(command) => {
                let spans = volume.list(&list).get(range.clone()).unwrap_or_default();
                let ranges = self.ranges(command, spans);
                let unmapped = ranges.and_then(|ranges| self.unmap(volume, &ranges));
                return self.without_list(volume, list, unmapped);
            }
            Todo::Flush => {
                let flushed = self.submit(volume, &mut []);
                return self.without_list(volume, list, flushed);
            }
        };
        let BlockCommand { operation, lba, blocks, .. } = command;
        let spans = volume.list(&list).get_mut(range.clone()).unwrap_or_default();
        let cut = CutSpans::cut(spans, self.data_bytes());
        let data = range.start..range.start.saturating_add(cut.count);
        let whole = ListRequest { tag: self.tag, operation, lba, blocks, data };
        volume.submit_list(list, &whole).map_err(|(refusal, list)| {
            let spans = list.as_ref().and_then(|list| volume.list(list).get_mut(range.clone()));
            cut.undo(spans.unwrap_or_default());
            (self.untaken(refusal), list)
        })
    }

    /// Releases the list of a request that does not need it, if the volume has taken that.
    #[expect(clippy::result_large_err, reason = "an answer, which is made rarely")]
    fn without_list(
        &self,
        volume: &mut VolumeHandle<'_>,
        list: ListId,
        submitted: Result<(), Untaken>,
    ) -> Result<(), (Untaken, Option<ListId>)> {
        match submitted {
            Ok(()) => {
                volume.release_list(list);
                Ok(())
            }
            Err(untaken) => Err((untaken, Some(list))),
        }
    }

    /// Reads the ranges of an UNMAP, of which there is one at least.
    fn ranges(&self, command: UnmapCommand, spans: &[Span]) -> Result<UnmapRanges, Untaken> {
        let mut list = [0; UNMAP_LIST_BYTES_MAX];
        let list = list.get_mut(..command.read_bytes()).unwrap_or_default();
        let copied = copy_out(spans, list);
        let ranges = command.ranges(list.get(..copied).unwrap_or_default(), &self.entry.view);
        let ranges = ranges.map_err(|sense| self.answer(Ending::from(sense)))?;
        if ranges.is_empty() { Err(self.answer(Ending::GOOD)) } else { Ok(ranges) }
    }

    fn unmap(&self, volume: &mut VolumeHandle<'_>, ranges: &UnmapRanges) -> Result<(), Untaken> {
        volume.submit_ranges(self.tag, ranges).map_err(|refusal| self.untaken(refusal))
    }

    /// Slot of the request, with the volume.
    pub(super) fn slot(&self, response: Option<WholeResponse>, kind: Kind, tag: u64) -> Slot {
        let (lba, blocks) = match self.todo {
            Todo::Blocks(BlockCommand { lba, blocks, .. }) => (lba, blocks),
            Todo::Flush | Todo::Unmap(_) => (Lba(0), 0),
        };
        let operation = self.todo.operation();
        let used = self.bytes.wrapping_sub(self.residual);
        let read = if operation == Operation::Read { used } else { 0 };
        let written = if read > 0 { RESPONSE_LEN.saturating_add(read) } else { HEADER_BYTES };
        let (bytes, residual) = (self.bytes, self.residual);
        Slot { response, tag, lba, blocks, written, kind, bytes, residual, operation }
    }

    fn data_bytes(&self) -> u64 {
        self.todo.data_bytes(self.entry.view.block_bytes)
    }

    fn untaken(&self, refusal: Refusal) -> Untaken {
        let Refusal::Failed(status) = refusal else { return Untaken::Full };
        self.entry.stats.refuse(status);
        self.answer(match self.todo {
            Todo::Blocks(command) => command.ended(&self.entry.view, status, None),
            Todo::Flush | Todo::Unmap(_) => Ending::of(status),
        })
    }

    pub(super) fn answer(&self, ending: Ending) -> Untaken {
        let residual = if ending.status == ScsiStatus::GOOD { self.residual } else { self.bytes };
        Untaken::Answer(Answer::of(ending, self.entry.view.sense_format, residual))
    }
}

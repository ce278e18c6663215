//! The ends of requests that a volume has had.

use super::request_session::RequestSession;
use super::slots::{Slot, State};
use super::turn::Turn;
use crate::scsi::lun::LunPlace;
use crate::scsi::response::{Answer, RESPONSE_LEN};
use crate::scsi::table::LunEntry;
use luge_block::{Completion, Status};
use luge_scsi::{Ending, SenseFormat};
use luge_spec::scsi::ScsiStatus;
use luge_virtqueue::Head;
use luge_volume::Graph;

impl RequestSession {
    /// Ends requests: reads and writes that have succeeded all at once, up to any other, which is ended alone.
    #[inline]
    pub(super) fn end_all(&mut self, done: &[Completion]) {
        let mut left = done;
        while !left.is_empty() {
            let Self { queue, slots, .. } = self;
            let mut count = 0_usize;
            queue.complete_all(left.iter().map_while(|end| {
                let head = Head(end.tag().slot());
                let written = if end.succeeded() { slots.succeed(head)? } else { return None };
                count = count.wrapping_add(1);
                Some((head, written))
            }));
            slots.remove_busy(count);
            left = left.get(count..).unwrap_or_default();
            if let Some((end, rest)) = left.split_first() {
                self.end_one(*end);
                left = rest;
            }
        }
    }

    /// Ends a request of any kind. The place in which a comparison has failed is asked for first.
    #[cold]
    #[inline(never)]
    fn end_one(&mut self, end: Completion) {
        let compares = end.status() == Status::CompareFailed;
        if !compares || self.compared.push(end).is_err() {
            self.end_with(end, None);
        }
    }

    /// Ends the comparisons that have failed.
    pub(super) fn look_at_mismatches(&mut self, graph: &Graph, turn: &mut Turn) {
        while let Some(end) = self.compared.pop() {
            turn.serve(1);
            let tag = end.tag();
            self.end_with(end, graph.mismatch(tag.session(), tag.slot()));
        }
    }

    /// Ends a request, of which a byte differs where that is known.
    fn end_with(&mut self, end: Completion, differs_at: Option<u64>) {
        let head = Head(end.tag().slot());
        let slot = self.slots.free(head);
        let entry = match slot.kind.place {
            LunPlace::Lun(address) => self.table.as_ref().and_then(|table| table.get(address)),
            LunPlace::Beyond(_) | LunPlace::ReportLuns(_) => None,
        };
        if !end.succeeded() {
            entry.inspect(|entry| entry.stats.fail(end.status()));
        }
        let answer = answer(&slot, end, entry, differs_at);
        let data = if answer.has_data() { slot.written.saturating_sub(RESPONSE_LEN) } else { 0 };
        let written = answer.written(data);
        match slot.response {
            Some(response) => answer.write(&[response.into()]),
            None => {
                let extra = self.extras.get(slot.kind.extra);
                extra.into_iter().for_each(|extra| answer.write(extra.response()));
            }
        }
        self.extras.free(slot.kind.extra);
        self.queue.complete(head, written);
    }
}

/// Answer to a request that has ended.
fn answer(slot: &Slot, end: Completion, entry: Option<&LunEntry>, differs_at: Option<u64>) -> Answer {
    if let Some(response) = slot.kind.mark.response() {
        return Answer::without_status(response, slot.bytes);
    }
    let command = match slot.kind.state {
        State::Transfer | State::AwaitedTransfer => slot.transfer(end.tag()),
        State::Free | State::Submitted | State::Parked | State::Away => slot.command(),
    };
    let ending = match entry {
        Some(entry) if command.blocks > 0 => command.ended(&entry.view, end.status(), differs_at),
        Some(_) | None => Ending::of(end.status()),
    };
    let format = entry.map_or(SenseFormat::Fixed, |entry| entry.view.sense_format);
    let residual = if ending.status == ScsiStatus::GOOD { slot.residual } else { slot.bytes };
    Answer::of(ending, format, residual)
}

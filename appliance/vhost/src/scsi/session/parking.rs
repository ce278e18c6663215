//! Requests whose volume has no room leave the batch, so that those of other LUNs go on.
//!
//! ```text
//!  (1) batch  --no room, and others wait in the ring--> (2)
//!  (2) parked --its volume has room-->                  (1), walked anew
//!  (2) parked --it is cancelled, or its LUN is gone-->  (1), answered
//! ```
//!
//! Where there is one LUN only, its requests wait in the batch: they delay no others.
//!
//! Invariant: nothing but heads and tags is kept of the first reading of a chain. A long chain is walked from its
//! beginning again, which its guest pays for.

use super::cancellations::ones;
use super::chains::bit;
use super::pending::Identity;
use super::request_session::RequestSession;
use super::slots::{Kind, Mark, Slot, State};
use super::turn::Turn;
use crate::scsi::lun::{LunAddress, LunPlace};
use crate::scsi::request::{self, Content};
use crate::scsi::response::Answer;
use luge_spec::virtio::scsi::{RequestHeader, Response};
use luge_virtqueue::Head;
use luge_volume::Graph;

/// Most LUNs with parked requests that are looked at in a take.
const LOOKS: usize = 8;

impl RequestSession {
    /// Whether the batch may be replaced: no chain of it is unread, and its spans are not in use.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        self.left == 0 && self.pending.is_none()
    }

    /// Parks chains of the batch whose volumes have no room. Those that cannot be parked are left.
    #[cold]
    #[inline(never)]
    pub(super) fn park(&mut self, mut chains: u64, turn: &mut Turn) {
        while chains != 0 {
            let index = chains.trailing_zeros() as usize;
            chains &= !bit(index);
            let head = self.batch.chain(index).map(|chain| chain.head);
            let read = head.zip(self.header_of(index));
            if read.is_some_and(|(head, header)| self.park_read(head, &header)) {
                self.left &= !bit(index);
                turn.serve(1);
            }
        }
    }

    /// Parks a request with that header; returns false if that is not possible or not sensible.
    pub(super) fn park_read(&mut self, head: Head, header: &RequestHeader) -> bool {
        self.park_one(&Identity::new(head, header))
    }

    /// Parks a request; returns false if that is not possible or not sensible.
    pub(super) fn park_one(&mut self, identity: &Identity) -> bool {
        let &Identity { head, place: Some(place @ LunPlace::Lun(lun)), tag, mark, awaited } = identity else {
            return false;
        };
        let is_alone = self.table.as_ref().is_none_or(|table| table.len() < 2);
        if is_alone || awaited || mark != Mark::None || self.slots.vacant(head).is_none() {
            return false;
        }
        let parks = self.parked.add(lun, head);
        if parks {
            let kind = Kind::new(State::Parked, place);
            self.slots.fill(head, Slot { tag, kind, ..Slot::FREE });
        }
        parks
    }

    /// Serves parked requests of LUNs whose volumes have room again.
    pub(super) fn unpark(&mut self, graph: &mut Graph, turn: &mut Turn) {
        let luns = if self.parked.take_turn() { self.parked.luns() } else { 0 };
        for _ in 0..luns.min(LOOKS) {
            if !turn.goes_on() || !self.is_free() || self.queue.resubmits() > 0 {
                return;
            }
            let Some((index, parked)) = self.parked.turn_to_next() else { return };
            let room = self.room_of(graph, parked.lun).max(parked.urgent).min(turn.room);
            if room > 0 {
                self.take_parked(graph, index, room, turn);
            }
        }
    }

    /// Number of requests to a LUN that can be served or answered now.
    fn room_of(&self, graph: &mut Graph, lun: LunAddress) -> usize {
        let entry = self.table.as_ref().and_then(|table| table.get(lun));
        let entry = entry.filter(|entry| entry.gate.is_open());
        let volume = entry.and_then(|entry| graph.volume(entry.volume));
        // Requests to others are answered, or go to the adapter's thread.
        volume.map_or(usize::MAX, |mut volume| volume.room())
    }

    /// (2) to (1): walks and serves the first parked chains of a LUN.
    fn take_parked(&mut self, graph: &mut Graph, index: usize, most: usize, turn: &mut Turn) {
        let Self { queue, batch, parked, cancellations, .. } = self;
        queue.take_again(batch, parked.heads(index, most));
        if batch.is_empty() {
            return self.break_parked(index);
        }
        cancellations.replace_batch();
        self.left = ones(batch.len());
        parked.remove_first(index, batch.len());
        (0..batch.walked()).for_each(|chain| self.leave_parked(chain, turn));
        self.leave_parked_long();
        let full = self.serve(graph, turn);
        turn.walk(self.batch.take_steps());
        self.park(full & self.left, turn);
    }

    /// Makes a chain of the batch, which was parked, one that was just taken, or answers it if it is cancelled.
    fn leave_parked(&mut self, index: usize, turn: &mut Turn) {
        let Some(chain) = self.batch.chain(index) else { return };
        let head = chain.head;
        if let Some(response) = self.slots.free(head).kind.mark.response() {
            let read = request::read(chain);
            self.left &= !bit(index);
            turn.serve(1);
            self.answer_cancelled(head, &read, response);
        }
    }

    /// Makes the long chain at the end of the batch, which was parked, one that was just taken, or is cancelled.
    fn leave_parked_long(&mut self) {
        self.unparked = self.batch.long_head().map(|head| {
            let Slot { tag, kind, .. } = self.slots.free(head);
            Identity { head, place: Some(kind.place), tag, mark: kind.mark, awaited: kind.awaited }
        });
    }

    fn answer_cancelled(&mut self, head: Head, request: &request::Request, response: Response) {
        let Content { data, .. } = match &request.content {
            Some(content) => content,
            None => &Content::default(),
        };
        let written = request.response.write(&Answer::without_status(response, data.bytes()));
        self.queue.complete(head, written);
    }

    /// Gives up a chain whose driver has changed it so that the search for its response takes too long.
    #[cold]
    fn break_parked(&mut self, index: usize) {
        let head = self.parked.heads(index, 1).next();
        self.parked.remove_first(index, 1);
        head.into_iter().for_each(|head| _ = self.slots.free(head));
        self.queue.abandon();
        self.queue.break_off();
    }
}

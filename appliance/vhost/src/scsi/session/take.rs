//! The turn of a session.

use super::cancellations::ones;
use super::chains::bit;
use super::request_session::RequestSession;
use super::turn::Turn;
use crate::device::QueueSession;
use crate::queue::DeviceQueue;
use luge_block::Completion;
use luge_core::{Armed, Kick, Published, Session, SessionId, Took, Work};
use luge_volume::Graph;

impl RequestSession {
    /// Number of chains that wait for a new batch: none while one of the last batch is unread, or its spans are in use.
    #[inline]
    fn waiting(&mut self) -> usize {
        if self.is_free() && self.table.is_some() { self.queue.waiting() } else { 0 }
    }

    /// Whether there is something to do beside the chains of the batch.
    #[inline]
    fn owes(&self) -> bool {
        self.pending.is_some()
            || !self.resumed.is_empty()
            || !self.compared.is_empty()
            || !self.parked.is_empty()
    }

    /// Takes a batch of the `waiting` chains, at most `room`.
    #[inline]
    fn refill(&mut self, waiting: usize, room: usize) {
        self.queue.take(&mut self.batch, waiting.min(room));
        self.left = ones(self.batch.len());
        if !self.cancellations.is_empty() {
            self.cancellations.refilled(self.batch.len());
        }
    }

    /// Serves the unread chains of the batch, as far as there is room; returns those whose volumes have none.
    #[inline]
    pub(super) fn serve(&mut self, graph: &mut Graph, turn: &mut Turn) -> u64 {
        // What is to be cancelled is found when requests are read one by one.
        let full = if self.cancellations.is_empty() { self.serve_runs(graph, turn) } else { 0 };
        let others = self.left & !full;
        if others != 0 {
            self.serve_others(graph, others, turn);
        }
        full
    }

    /// Serves chains one by one.
    #[cold]
    #[inline(never)]
    fn serve_others(&mut self, graph: &mut Graph, mut others: u64, turn: &mut Turn) {
        while others != 0 && turn.room > 0 && self.pending.is_none() {
            let index = others.trailing_zeros() as usize;
            self.serve_one(graph, index, turn);
            others &= !bit(index);
        }
    }

    /// Does what is left of turns before.
    #[cold]
    #[inline(never)]
    fn go_on(&mut self, graph: &mut Graph, turn: &mut Turn) {
        self.look_at_mismatches(graph, turn);
        self.resume(graph, turn);
        self.retry(graph, turn);
        if self.left != 0 {
            let full = self.serve(graph, turn);
            turn.walk(self.batch.take_steps());
            if full == self.left && self.queue.waiting() > 0 {
                self.park(full, turn);
            }
        }
        self.unpark(graph, turn);
    }
}

impl Session for RequestSession {
    fn adopt(&mut self, id: SessionId) {
        self.session = id;
    }

    fn request_slots(&self) -> usize {
        self.slots.count()
    }

    #[inline]
    fn take(&mut self, graph: &mut Graph, allowance: Work) -> Took {
        let mut waiting = self.waiting();
        // An idle ring costs no more than this.
        if waiting == 0 && self.left == 0 && !self.owes() {
            return Took::Nothing;
        }
        let mut turn = Turn::new(allowance);
        self.batch.allow(turn.walk_max);
        if self.left != 0 || self.owes() {
            self.go_on(graph, &mut turn);
            waiting = if turn.goes_on() { self.waiting() } else { 0 };
        }
        if waiting > 0 {
            self.refill(waiting, turn.room);
            self.serve(graph, &mut turn);
        }
        turn.walk(self.batch.take_steps());
        turn.took()
    }

    #[inline]
    fn finish(&mut self, done: &[Completion]) {
        self.end_all(done);
    }

    #[inline]
    fn publish(&mut self) -> Published {
        let published = self.queue.publish(self.in_flight());
        if !self.cancellations.is_empty() {
            self.settle();
        }
        published
    }

    fn arm(&mut self) -> Armed {
        if self.left != 0 || self.owes() {
            return Armed::Waiting;
        }
        // Without a table nothing is taken; a task brings one.
        if self.table.is_some() { self.queue.arm() } else { Armed::Quiet }
    }

    fn disarm(&mut self) {
        self.queue.disarm();
    }

    fn kick(&self) -> Option<&Kick> {
        self.queue.kick()
    }

    fn needs_polling(&self) -> bool {
        self.table.is_some() && self.queue.needs_polling()
    }

    #[inline]
    fn in_flight(&self) -> usize {
        // No more is in flight than the ring is long: no sum wraps.
        let read = self.slots.busy().wrapping_add(usize::from(self.pending.is_some()));
        // To count bits takes its time.
        let left = if self.left == 0 { 0 } else { self.left.count_ones() as usize };
        let taken = read.wrapping_add(left);
        // Without a table, those of an earlier process are left to the next session.
        if self.table.is_some() { taken.wrapping_add(self.queue.resubmits()) } else { taken }
    }

    fn quiesce(&mut self) {
        self.queue.quiesce();
        self.cancellations.forget_ring();
    }
}

impl QueueSession for RequestSession {
    fn queue(&mut self) -> &mut DeviceQueue {
        &mut self.queue
    }
}

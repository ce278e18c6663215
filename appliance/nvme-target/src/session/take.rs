//! The turn of a session: which queues it takes commands of, and how many.

use super::attempt::{Attempt, Served};
use super::candidates::Candidates;
use super::groups::are_of_different_namespaces;
use super::queue_session::QueueSession;
use super::turn::{BATCH, Turn};
use crate::queues::SubmissionQueue;
use luge_block::Completion;
use luge_core::{Armed, Kick, Published, Session, SessionId, Ticks, Took, Work};
use luge_volume::Graph;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::fence;

impl QueueSession {
    /// Looks at the tail doorbells; returns whether commands wait.
    #[inline]
    fn look(&mut self) -> bool {
        let Self { queues, relay, .. } = self;
        let mut wait = false;
        for queue in queues.iter_mut().flatten() {
            match queue.waiting() {
                Ok(waiting) => wait |= waiting > 0,
                Err(_) => relay.report_invalid_doorbell(),
            }
        }
        wait
    }

    /// Learns what the host has consumed.
    #[inline]
    pub(super) fn look_at_head(&mut self) {
        if self.completion.update().is_err() {
            self.relay.report_invalid_doorbell();
        }
    }

    /// Interrupts the host if that is due.
    #[inline(always)]
    fn settle_interrupts(&mut self) {
        if self.interrupts.wait() {
            self.settle_waiting();
        }
    }

    #[inline(never)]
    fn settle_waiting(&mut self) {
        self.look_at_head();
        self.interrupts.settle(&self.completion, self.now);
    }

    fn new_turn(&mut self, allowance: Work) -> Turn {
        // The host has just stored a head, most likely: its doorbell is not looked at while there is room.
        if self.room() < BATCH {
            self.look_at_head();
        }
        Turn::new(allowance, self.room())
    }

    /// Number of commands for which there are completion entries.
    fn room(&self) -> usize {
        (self.completion.free() as usize).saturating_sub(self.slots.busy())
    }

    /// Takes commands of the queues, round robin.
    #[inline(never)]
    fn take_in_turn(&mut self, graph: &mut Graph, turn: &mut Turn) {
        if self.queues.len() == 1 {
            self.serve_queue(graph, 0, usize::MAX, turn);
            return;
        }
        let count = u16::try_from(self.queues.len()).unwrap_or(u16::MAX);
        let mut without = 0_u16;
        while turn.goes_on() && without < count {
            let index = self.next;
            let next = index.wrapping_add(1);
            self.next = if next < count { next } else { 0 };
            match self.serve_queue(graph, index, self.rules.burst as usize, turn) {
                Served::Some(_) => without = 0,
                Served::None => without = without.wrapping_add(1),
                Served::Full(_) => break,
            }
        }
    }

    /// Goes on with the long command, and takes others beside it.
    #[cold]
    fn take_long(&mut self, graph: &mut Graph, allowance: Work) -> Took {
        let mut turn = self.new_turn(allowance);
        self.go_on_long(graph, &mut turn);
        if !self.is_held && self.look() {
            self.take_in_turn(graph, &mut turn);
        }
        self.report_drained();
        turn.outcome()
    }

    /// Serves up to `burst` commands of a queue.
    #[inline]
    fn serve_queue(&mut self, graph: &mut Graph, index: u16, burst: usize, turn: &mut Turn) -> Served {
        if self.long.as_ref().is_some_and(|long| long.is_at(index)) {
            return Served::None;
        }
        let Self { queues, completion, .. } = self;
        let queue = queues.get(usize::from(index)).and_then(Option::as_ref);
        let Some(queue) = queue else { return Served::None };
        let mut left = (queue.known_waiting() as usize).min(burst);
        if left == 0 {
            return Served::None;
        }
        if left > 1 {
            let soon = left.min(turn.room);
            queue.prefetch(soon);
            completion.prefetch(soon);
        }
        while left > 0 && turn.goes_on() {
            let mut served = self.serve_some(graph, index, left.min(turn.room), turn);
            if served == Served::None {
                let Some(entry) = self.queue(index).and_then(|queue| queue.entry(0)) else { break };
                served = self.serve_one(&mut Attempt { graph, turn, index, entry });
            }
            match served {
                Served::Some(count) => left = left.saturating_sub(count),
                Served::None | Served::Full(_) => return served,
            }
        }
        Served::Some(0)
    }

    /// Serves reads and writes at the head of a queue: `most` of them at most.
    #[inline]
    fn serve_some(&mut self, graph: &mut Graph, index: u16, most: usize, turn: &mut Turn) -> Served {
        let queue = self.queue(index).filter(|_| most > 1);
        if queue.is_some_and(|queue| are_of_different_namespaces(queue)) {
            return self.serve_groups(graph, index, most, turn);
        }
        self.serve_run(graph, index, Candidates::Next(u32::try_from(most).unwrap_or(u32::MAX)), turn)
    }
}

impl Session for QueueSession {
    fn adopt(&mut self, id: SessionId) {
        self.session = id;
    }

    fn request_slots(&self) -> usize {
        self.slots.count()
    }

    #[inline]
    fn take(&mut self, graph: &mut Graph, allowance: Work) -> Took {
        self.now = graph.now();
        self.settle_interrupts();
        if !self.specials.is_empty() {
            self.go_on(graph);
        }
        if self.long.is_some() {
            return self.take_long(graph, allowance);
        }
        // The pages of its doorbells may be somebody else's by now.
        if self.is_held {
            return Took::Nothing;
        }
        if self.offered_doorbells.is_some() {
            self.look_at_offered_doorbells();
        }
        if !self.look() {
            return Took::Nothing;
        }
        self.looks.found(self.now);
        let mut turn = self.new_turn(allowance);
        self.take_in_turn(graph, &mut turn);
        turn.outcome()
    }

    #[inline]
    fn finish(&mut self, done: &[Completion]) {
        self.end_all(done);
        if self.is_awaited {
            self.report_drained();
        }
    }

    #[inline]
    fn publish(&mut self) -> Published {
        self.settle_interrupts();
        if self.interrupts.owes() { Published::Owing } else { Published::All }
    }

    fn arm(&mut self) -> Armed {
        self.look_at_head();
        // After a shutdown, or without leave to use memory, the pages may be somebody else's by now.
        if !self.is_held {
            self.completion.arm();
            self.queues.iter().flatten().for_each(SubmissionQueue::arm);
        }
        // The host stores a doorbell and then looks at the event index; we do it the other way round. Without this fence
        // both could miss the other's store.
        fence(SeqCst);
        // Commands for which the host has left no completion entry are looked at again with the doorbells.
        self.look_at_head();
        let waits = !self.is_held && self.room() > 0 && self.look();
        let goes_on = self.specials.wait() || self.long.is_some();
        if waits || goes_on || self.interrupts.wait() { Armed::Waiting } else { Armed::Quiet }
    }

    fn disarm(&mut self) {}

    fn kick(&self) -> Option<&Kick> {
        self.kick.as_ref()
    }

    fn needs_polling(&self) -> bool {
        false
    }

    fn wake_at(&self) -> Option<Ticks> {
        let look = (!self.is_held).then(|| self.looks.next(Ticks::now()));
        look.into_iter().chain(self.interrupts.due_at()).min()
    }

    fn in_flight(&self) -> usize {
        self.slots.in_flight().wrapping_add(usize::from(self.long.is_some()))
    }

    fn quiesce(&mut self) {
        self.is_held = true;
    }
}

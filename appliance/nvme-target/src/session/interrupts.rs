//! Interrupts of a completion queue: one for many completions, and none lost.
//!
//! An interrupt is outstanding until the host stores another head: it then has looked at the queue after the interrupt.
//! Completions that are posted meanwhile are found by the same look, most likely, and get no interrupt of their own.
//! But a host that has just looked for the last time, and not stored the head yet, does not find them: so they get one
//! as soon as the head has moved and there are still completions before the tail, or after [`WAIT_MAX`].
//!
//! ```text
//!  (1) quiet       --completions posted-->                        interrupt; (2)
//!  (2) outstanding --completions posted-->                        they wait; (3)
//!  (2) outstanding --the head moves-->                            (1)
//!  (3) waiting     --the head moves as far as the tail-->         (1): the host has seen all
//!  (3) waiting     --the head moves, or the wait was too long-->  interrupt; (2)
//! ```
//!
//! With Interrupt Coalescing, completions wait in (1), too: for more of them, or for a time.

use crate::queues::{Coalescing, CompletionQueue};
use luge_core::{Call, Ticks};
use std::time::Duration;

/// Longest time for which an interrupt waits because another one is outstanding: a host may store the head late.
const WAIT_MAX: Duration = Duration::from_micros(100);

/// Interrupts of a completion queue.
pub(super) struct Interrupts {
    call: Option<Call>,
    coalescing: Coalescing,
    /// Completions that were posted since the last interrupt.
    posted: u32,
    /// Time at which the first of them was posted.
    since: Ticks,
    /// Head at the last interrupt, while that is outstanding.
    outstanding: Option<u32>,
    /// Whether interrupts wait while one is outstanding.
    adapts: bool,
}

impl Interrupts {
    pub(super) fn new(call: Option<Call>, coalescing: Coalescing) -> Self {
        Self { call, coalescing, posted: 0, since: Ticks::PAST, outstanding: None, adapts: true }
    }

    /// Notes completions that were posted. Without an interrupt, none waits for one.
    #[inline]
    pub(super) fn note(&mut self, posted: u32, now: Ticks) {
        if self.call.is_none() {
            return;
        }
        if self.posted == 0 {
            self.since = now;
        }
        self.posted = self.posted.saturating_add(posted);
    }

    /// Whether completions wait for an interrupt, or an interrupt has not reached the host.
    #[inline]
    pub(super) fn wait(&self) -> bool {
        self.posted > 0 || self.owes()
    }

    /// Whether an interrupt has not reached the host.
    pub(super) fn owes(&self) -> bool {
        self.call.as_ref().is_some_and(Call::is_owed)
    }

    /// Time at which an interrupt is due that waits; none if none does.
    pub(super) fn due_at(&self) -> Option<Ticks> {
        (self.posted > 0).then(|| self.wait_ends())
    }

    /// Interrupts the host if that is due. The queue knows what the host has consumed.
    #[inline]
    pub(super) fn settle(&mut self, queue: &CompletionQueue, now: Ticks) {
        let Some(call) = &mut self.call else { return };
        call.retry();
        if self.outstanding.is_some_and(|head| head != queue.head()) {
            self.outstanding = None;
        }
        if queue.unconsumed() == 0 {
            self.posted = 0;
        }
        if self.posted > 0 && self.is_due(now) {
            self.interrupt(queue);
        }
    }

    fn is_due(&self, now: Ticks) -> bool {
        let at_once = self.outstanding.is_none() && self.coalescing.reports(self.posted);
        at_once || now >= self.wait_ends()
    }

    /// Time at which the longest wait ends.
    #[expect(clippy::arithmetic_side_effects, reason = "the last time is later than any")]
    fn wait_ends(&self) -> Ticks {
        let outstanding = self.outstanding.map_or(Duration::ZERO, |_| WAIT_MAX);
        self.since + self.coalescing.time.max(outstanding)
    }

    fn interrupt(&mut self, queue: &CompletionQueue) {
        self.call.iter_mut().for_each(Call::signal);
        self.posted = 0;
        self.outstanding = self.adapts.then_some(queue.head());
    }

    /// Uses another call; returns the one before. Interrupts the host once if it has completions to look at: the call
    /// before may have had no one to reach.
    pub(super) fn replace(&mut self, call: Option<Call>, queue: &CompletionQueue) -> Option<Call> {
        let before = std::mem::replace(&mut self.call, call);
        self.posted = 0;
        if queue.unconsumed() > 0 {
            self.interrupt(queue);
        }
        before
    }

    /// Lets no interrupt wait because another one is outstanding.
    pub(super) fn adapt_no_more(&mut self) {
        (self.adapts, self.outstanding) = (false, None);
    }

    pub(super) fn set_coalescing(&mut self, coalescing: Coalescing) {
        self.coalescing = coalescing;
    }
}

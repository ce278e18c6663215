//! The share of one tenant: its sessions, and the work that it may still have done.
//!
//! ```text
//!  (1) active --nothing found in LOOKS_MAX turns in a row--> (2) idle
//!  (2) idle   --a request found-->                           (1)
//! ```
//!
//! Active sessions are looked at in every turn of their tenant, idle ones in every sixteenth. So rings that stay
//! empty cost nearly nothing, and a tenant whose rings come to life waits for a few turns.
//!
//! Invariant: a visit does at most the work of the credit, and what one session does beyond it: a chain, or a
//! request's data. A debt is paid back by later visits, in which nothing is taken.

use crate::account::Account;
use crate::session::{SessionId, Took};
use crate::sessions::Sessions;
use luge_volume::{Graph, Ticks, Work};
use std::sync::Arc;

/// Turns in a row after which a session that has nothing is idle.
const LOOKS_MAX: u16 = 256;

/// Turns in which all idle sessions are looked at once.
const IDLE_TURNS: usize = 16;

/// The sessions of one tenant on a core.
pub(crate) struct Share {
    pub(crate) account: Arc<Account>,
    active: Rotation,
    idle: Rotation,
    credit: i64,
}

/// Sessions that are looked at in turn.
#[derive(Default)]
struct Rotation {
    sessions: Vec<SessionId>,
    next: usize,
}

impl Rotation {
    /// The session whose turn it is, and its place.
    #[inline]
    fn next(&mut self) -> Option<(usize, SessionId)> {
        if self.next >= self.sessions.len() {
            self.next = 0;
        }
        let at = self.next;
        let id = *self.sessions.get(at)?;
        self.next = at.wrapping_add(1);
        Some((at, id))
    }

    /// Lets the session after the one at a place be the next one.
    #[inline]
    fn begin_after(&mut self, at: usize) {
        let after = at.wrapping_add(1);
        self.next = if after < self.sessions.len() { after } else { 0 };
    }

    /// Takes out the session at a place whose turn has just been.
    fn take_out(&mut self, at: usize) -> SessionId {
        self.next = at;
        self.sessions.swap_remove(at)
    }
}

impl Share {
    pub(crate) fn new(account: Arc<Account>) -> Self {
        Self { account, active: Rotation::default(), idle: Rotation::default(), credit: 0 }
    }

    /// Adds a session, which is active at first. Makes room for it in both lists.
    pub(crate) fn add(&mut self, id: SessionId) {
        self.active.sessions.push(id);
        let all = self.active.sessions.len() + self.idle.sessions.len();
        self.active.sessions.reserve(all);
        self.idle.sessions.reserve(all);
    }

    /// Takes a session out.
    pub(crate) fn remove(&mut self, id: SessionId) {
        self.active.sessions.retain(|&other| other != id);
        self.idle.sessions.retain(|&other| other != id);
    }

    /// Whether no session is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.active.sessions.is_empty() && self.idle.sessions.is_empty()
    }

    /// Looks at all idle sessions in the next visit: the core has slept, and a kick does not say whose it is.
    pub(crate) fn wake(&mut self) {
        self.active.sessions.append(&mut self.idle.sessions);
    }

    /// Lets the tenant's sessions take requests, as far as its credit reaches. Returns the work that was done.
    #[inline]
    pub(crate) fn visit(&mut self, sessions: &mut Sessions, graph: &mut Graph) -> Work {
        self.credit = (self.credit + i64::from(Work::QUANTUM)).min(Work::QUANTUM.into());
        self.visit_active(sessions, graph) + self.visit_idle(sessions, graph)
    }

    /// Charges a visit that did work, and began at `start`. Returns the time.
    #[inline]
    pub(crate) fn charge(&self, work: Work, start: Ticks) -> Ticks {
        let now = Ticks::now();
        self.account.charge(work, now.0.saturating_sub(start.0));
        now
    }

    #[inline]
    fn visit_active(&mut self, sessions: &mut Sessions, graph: &mut Graph) -> Work {
        let (mut done, first) = (Work::default(), self.active.next);
        for _ in 0..self.active.sessions.len() {
            let Some(allowance) = self.allowance() else { return done };
            let Some((at, id)) = self.active.next() else { return done };
            match sessions.take(id, graph, allowance) {
                Took::Work(work) => {
                    done += work;
                    self.credit -= i64::from(work);
                }
                Took::NoRoom => {}
                Took::Nothing => {
                    self.credit -= i64::from(Work::LOOK);
                    if sessions.count_look(id) >= LOOKS_MAX {
                        let id = self.active.take_out(at);
                        self.idle.sessions.push(id);
                    }
                }
            }
        }
        // All had their turn; the first of them is another one the next time: there may be little room beneath.
        self.active.begin_after(first);
        done
    }

    #[inline]
    fn visit_idle(&mut self, sessions: &mut Sessions, graph: &mut Graph) -> Work {
        let mut done = Work::default();
        for _ in 0..self.idle.sessions.len().div_ceil(IDLE_TURNS) {
            let Some(allowance) = self.allowance() else { break };
            let Some((at, id)) = self.idle.next() else { break };
            let took = sessions.take(id, graph, allowance);
            if let Took::Work(work) = took {
                done += work;
                self.credit -= i64::from(work);
            }
            if took != Took::Nothing {
                let id = self.idle.take_out(at);
                self.active.sessions.push(id);
            }
        }
        done
    }

    /// Work that the next session may do; none while the tenant is in debt.
    #[inline]
    fn allowance(&self) -> Option<Work> {
        u32::try_from(self.credit).ok().filter(|&left| left > 0).map(Work)
    }
}

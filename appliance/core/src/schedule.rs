//! The turn of a core: which sessions take requests, in which order, and how much.
//!
//! Path: guest ring -> **sessions take** -> volumes -> channels commit and poll -> **sessions finish and publish**.
//!
//! Deficit round robin among tenants: each visit adds a quantum of work to a tenant's credit, which its sessions use
//! up. A turn ends when every tenant was visited, or enough was done; the next turn goes on where this one ended. So
//! each tenant with work gets an equal part of the core's work, whatever number of rings it has and whatever they ask
//! for. All tenants have the same quantum; weights would be factors of it.
//!
//! Sessions of a tenant:
//!
//! ```text
//!  (1) active --nothing found in LOOKS_MAX visits in a row--> (2) idle
//!  (2) idle   --requests found, or the core has slept-->      (1)
//! ```
//!
//! Active sessions are looked at in every visit, idle ones in every sixteenth. So rings that stay empty cost nearly
//! nothing.
//!
//! Invariant: a visit does at most the work of the credit, and the work of one session beyond it: a chain, or the
//! data of a request. A debt is paid back by later visits, in which nothing is taken.

use crate::account::Account;
use crate::rotation::Rotation;
use crate::session::{Published, Session, SessionId, Took};
use crate::sessions::Sessions;
use luge_volume::{Graph, Ticks, Work};
use std::sync::Arc;

/// Visits in a row after which a session that has nothing is idle.
const LOOKS_MAX: u16 = 256;

/// Visits in which all idle sessions are looked at once.
const IDLE_VISITS: usize = 16;

/// The sessions of a core, by their tenants.
#[derive(Default)]
pub(crate) struct Schedule {
    sessions: Sessions,
    shares: Vec<Share>,
    /// The share that is first in the next turn.
    first: usize,
}

/// The sessions of one tenant, and the work that may still be done for it.
struct Share {
    account: Arc<Account>,
    active: Rotation,
    idle: Rotation,
    credit: i64,
}

impl Schedule {
    /// Takes a turn, which begins at `now`. Returns whether there was work.
    pub(crate) fn turn(&mut self, graph: &mut Graph, now: Ticks) -> bool {
        graph.begin_turn(now);
        let taken = self.take(graph, now);
        graph.commit();
        let sessions = &mut self.sessions;
        let ended = graph.poll(|run| sessions.ended(run).finish(run));
        sessions.publish(|session| session.publish() == Published::Owing);
        taken || ended > 0
    }

    /// Lets the tenants' sessions take requests. Returns whether any did.
    #[inline]
    fn take(&mut self, graph: &mut Graph, mut now: Ticks) -> bool {
        let count = self.shares.len();
        let (mut at, mut done) = (self.first, Work::default());
        for _ in 0..count {
            at = if at < count { at } else { 0 };
            let Some(share) = self.shares.get_mut(at) else { break };
            at = at.wrapping_add(1);
            let work = share.visit(&mut self.sessions, graph);
            if work > Work::default() {
                now = share.charge(work, now);
                done += work;
                if done >= Work::TURN {
                    self.first = at;
                    return true;
                }
            }
        }
        self.first = self.first.wrapping_add(1);
        self.first = if self.first < count { self.first } else { 0 };
        done > Work::default()
    }

    /// Adds a session of the tenant with this account; gives it back where there are as many as tags can name.
    pub(crate) fn add(
        &mut self,
        session: Box<dyn Session>,
        account: Arc<Account>,
    ) -> Result<SessionId, Box<dyn Session>> {
        let id = self.sessions.add(session)?;
        match self.shares.iter_mut().find(|share| Arc::ptr_eq(&share.account, &account)) {
            Some(share) => share.add(id),
            None => {
                let mut share = Share::new(account);
                share.add(id);
                self.shares.push(share);
            }
        }
        Ok(id)
    }

    /// Takes a session out, and the share out that has none left.
    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Box<dyn Session>> {
        self.shares.iter_mut().for_each(|share| share.remove(id));
        self.shares.retain(|share| !share.is_empty());
        self.sessions.remove(id)
    }

    /// All sessions.
    pub(crate) fn sessions(&mut self) -> &mut Sessions {
        &mut self.sessions
    }

    /// Makes all sessions active: the core has slept, and a kick does not say whose it is.
    pub(crate) fn wake(&mut self) {
        self.shares.iter_mut().for_each(|share| share.active.append(&mut share.idle));
    }
}

impl Share {
    fn new(account: Arc<Account>) -> Self {
        Self { account, active: Rotation::default(), idle: Rotation::default(), credit: 0 }
    }

    /// Adds a session, which is active at first. Makes room for it in both lists.
    fn add(&mut self, id: SessionId) {
        self.active.push(id);
        let all = self.active.len() + self.idle.len();
        self.active.reserve(all);
        self.idle.reserve(all);
    }

    fn remove(&mut self, id: SessionId) {
        self.active.remove(id);
        self.idle.remove(id);
    }

    fn is_empty(&self) -> bool {
        self.active.len() + self.idle.len() == 0
    }

    /// Lets the tenant's sessions take requests, as far as its credit reaches. Returns the work that was done.
    #[inline]
    fn visit(&mut self, sessions: &mut Sessions, graph: &mut Graph) -> Work {
        self.credit = (self.credit + i64::from(Work::QUANTUM)).min(Work::QUANTUM.into());
        let done = self.visit_active(sessions, graph);
        if self.idle.len() == 0 { done } else { done + self.visit_idle(sessions, graph) }
    }

    #[inline]
    fn visit_active(&mut self, sessions: &mut Sessions, graph: &mut Graph) -> Work {
        let (mut done, first) = (Work::default(), self.active.place());
        for _ in 0..self.active.len() {
            let Some(allowance) = self.allowance() else { return done };
            let Some((at, id)) = self.active.next() else { return done };
            let served = sessions.served(id);
            match served.session.take(graph, allowance) {
                Took::Work(work) => {
                    served.looks = 0;
                    sessions.publish_later(id);
                    self.credit -= i64::from(work);
                    done += work;
                }
                Took::NoRoom => {}
                Took::Nothing => {
                    served.looks = served.looks.saturating_add(1);
                    self.credit -= i64::from(Work::LOOK);
                    if served.looks >= LOOKS_MAX {
                        let id = self.active.take_out(at);
                        self.idle.push(id);
                    }
                }
            }
        }
        // All had their turn; another one is the first in the next visit: there may be little room beneath.
        self.active.begin_after(first);
        done
    }

    #[inline(never)]
    fn visit_idle(&mut self, sessions: &mut Sessions, graph: &mut Graph) -> Work {
        let mut done = Work::default();
        for _ in 0..self.idle.len().div_ceil(IDLE_VISITS) {
            let Some(allowance) = self.allowance() else { break };
            let Some((at, id)) = self.idle.next() else { break };
            let served = sessions.served(id);
            let took = served.session.take(graph, allowance);
            if took == Took::Nothing {
                continue;
            }
            served.looks = 0;
            self.active.push(self.idle.take_out(at));
            if let Took::Work(work) = took {
                sessions.publish_later(id);
                self.credit -= i64::from(work);
                done += work;
            }
        }
        done
    }

    /// Charges a visit that did work, and began at `start`. Returns the time.
    #[inline]
    fn charge(&self, work: Work, start: Ticks) -> Ticks {
        let now = Ticks::now();
        self.account.charge(work, now.0.saturating_sub(start.0));
        now
    }

    /// Work that the next session may do; none while the tenant is in debt.
    #[inline]
    fn allowance(&self) -> Option<Work> {
        u32::try_from(self.credit).ok().filter(|&left| left > 0).map(Work)
    }
}

//! The turn of a core: which sessions take requests, in which order, and how much.
//!
//! Path: guest ring -> **sessions take** -> volumes -> channels commit and poll -> **sessions finish and publish**.
//!
//! Deficit round robin among tenants: each round adds a quantum of work to a tenant's credit, which its sessions use
//! up. A turn ends when every tenant was visited, or enough was done; the next turn goes on where this one ended. So
//! each tenant with work gets an equal part of the core's work, whatever number of rings it has and whatever they ask
//! for.
//!
//! A tenant that leaves credit over is *light*: it has less work than its part of the round. Light tenants do not wait
//! for the round to come to them again: after a turn that was full, the next one begins with them. They use their
//! credit no faster than the round goes. So a tenant with a few requests at a time waits for a turn or two, however many
//! others have all the work in the world.
//!
//! Sessions of a tenant:
//!
//! ```text
//!  (1) active --nothing found in LOOKS_MAX visits in a row--> (2) idle
//!  (2) idle   --requests found, or the core has slept-->      (1)
//! ```
//!
//! Active sessions are looked at in every visit, each idle one in every sixteenth. So rings that stay empty cost nearly
//! nothing, be they few or many.
//!
//! Invariants
//! - A visit does at most the work of the credit, and the work of one session beyond it: a chain, or the data of a
//!   request. A debt is paid back by later rounds, in which nothing is taken; faster, where nobody has work.
//! - A turn ends after about [`Work::TURN`], looks at empty rings included, and one visit. In each turn the round goes
//!   on: light tenants have no credit but what it gives them.

use crate::account::Account;
use crate::rotation::Rotation;
use crate::session::{Published, Session, SessionId, Took};
use crate::sessions::Sessions;
use luge_block::Tag;
use luge_volume::{Graph, TenantNumber, Ticks, Work};
use std::collections::VecDeque;
use std::sync::Arc;

/// Visits in a row after which a session that has nothing is idle.
const LOOKS_MAX: u16 = 256;

/// Visits in which all idle sessions are looked at once.
const IDLE_VISITS: usize = 16;

/// Most rounds that are skipped after a turn in which nothing was taken.
const ROUNDS_SKIPPED: i64 = 4;

/// Most light tenants that are visited in a turn before the round goes on.
const LIGHT_VISITS_MAX: usize = 64;

/// Part of a quantum that is much work for one visit. A tenant that has done so much is light only if it has as much
/// left, so that its next visit is worth it.
const LIGHT_PART: i64 = 8;

/// The sessions of a core, by their tenants.
#[derive(Default)]
pub struct Schedule {
    sessions: Sessions,
    shares: Vec<Share>,
    /// The share with which the round goes on in the next turn.
    first: usize,
    /// Shares that were light when they were visited last, in the order of their next visits: those with much work are
    /// the last ones.
    light: VecDeque<usize>,
    /// Whether the last turn ended because enough was done, or all that a device does in a turn.
    was_full: bool,
    /// Whether the share with which the round goes on has been given what a round gives.
    is_refilled: bool,
    /// Visits of rounds so far.
    visits: i64,
}

/// The sessions of one tenant, and the work that may still be done for it.
struct Share {
    account: Arc<Account>,
    /// Number by which volumes know the tenant.
    number: TenantNumber,
    active: Rotation,
    idle: Rotation,
    /// Looks at idle sessions that are due, in parts of [`IDLE_VISITS`].
    idle_looks: usize,
    /// Work that a round adds to the credit. A weight of the tenant would be a factor of it.
    quantum: i64,
    credit: i64,
    /// Number of the visit in which the credit was refilled last.
    refilled_in: i64,
    /// Whether it is in the list of light ones.
    is_listed: bool,
}

/// Result of a visit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    /// Requests were taken, with much work: an eighth of the quantum or more.
    MuchWork,
    /// Requests were taken, with less work.
    LittleWork,
    /// Nothing was taken.
    Nothing,
    /// Nothing was taken for want of room beneath, where there is some again in the next turn.
    UsedUp,
}

/// Sum of the visits of a turn so far.
struct Taken {
    /// Whether anything was taken.
    any: bool,
    /// Credit that was used up: for work, and for looks at rings that had none.
    spent: i64,
    /// Time at the end of the last visit that did work.
    now: Ticks,
}

impl Schedule {
    /// Takes a turn, which begins at `now`. Returns whether there was work.
    pub fn turn(&mut self, graph: &mut Graph, now: Ticks) -> bool {
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
    fn take(&mut self, graph: &mut Graph, now: Ticks) -> bool {
        let mut taken = Taken { any: false, spent: 0, now };
        if self.was_full {
            self.visit_light(graph, &mut taken);
        }
        self.go_round(graph, &mut taken);
        if !taken.any && !self.was_full {
            self.skip_rounds();
        }
        taken.any
    }

    /// Visits light tenants, which the last turn may have left out: those with little work before those with much.
    #[inline(never)]
    fn visit_light(&mut self, graph: &mut Graph, taken: &mut Taken) {
        let mut place = 0;
        for _ in 0..self.light.len().min(LIGHT_VISITS_MAX) {
            if taken.is_enough() {
                return;
            }
            let Some(&at) = self.light.get(place) else { return };
            let count = self.shares.len();
            let Some(share) = self.shares.get_mut(at) else { return };
            if !share.is_due(self.visits, count) {
                place += 1;
                continue;
            }
            let visit = taken.add_visit(share, &mut self.sessions, graph);
            share.is_listed = share.is_light(visit);
            if share.is_listed && visit != Visit::MuchWork {
                place += 1;
                continue;
            }
            self.light.remove(place);
            if share.is_listed {
                self.light.push_back(at);
            }
        }
        if place == LIGHT_VISITS_MAX {
            self.light.rotate_left(place);
        }
    }

    /// Goes on with the round, by one visit at least, until all tenants were visited or enough was done. A tenant whose
    /// device has done all that it does in a turn is visited again in the next one: the round does not leave it behind.
    #[inline]
    fn go_round(&mut self, graph: &mut Graph, taken: &mut Taken) {
        let count = self.shares.len();
        let mut at = self.first;
        let mut is_refilled = std::mem::take(&mut self.is_refilled);
        for _ in 0..count {
            at = if at < count { at } else { 0 };
            let Some(share) = self.shares.get_mut(at) else { break };
            if !std::mem::take(&mut is_refilled) {
                self.visits += 1;
                share.refill(self.visits);
            }
            let visit = taken.add_visit(share, &mut self.sessions, graph);
            if share.is_light(visit) && !share.is_listed {
                share.is_listed = true;
                // There is room for every share.
                match visit {
                    Visit::MuchWork => self.light.push_back(at),
                    _ => self.light.push_front(at),
                }
            }
            self.is_refilled = visit == Visit::UsedUp;
            if self.is_refilled || taken.is_enough() {
                self.first = if self.is_refilled { at } else { at.wrapping_add(1) };
                self.was_full = true;
                return;
            }
            at = at.wrapping_add(1);
        }
        self.first = self.first.wrapping_add(1);
        self.first = if self.first < count { self.first } else { 0 };
        self.was_full = false;
    }

    /// Skips rounds in which all tenants with work would pay back debts: nobody else wants the time. Only a few,
    /// because somebody who makes one request at a time will want it soon.
    fn skip_rounds(&mut self) {
        let in_debt = self.shares.iter().filter(|share| share.credit < 0);
        let Some(rounds) = in_debt.map(|share| -share.credit / share.quantum).min() else { return };
        self.shares.iter_mut().for_each(|share| share.earn(rounds.min(ROUNDS_SKIPPED)));
    }

    /// Adds a session of the tenant with this account.
    ///
    /// # Errors
    /// The session where there are as many as tags can name.
    pub fn add(
        &mut self,
        session: Box<dyn Session>,
        account: Arc<Account>,
        graph: &mut Graph,
    ) -> Result<SessionId, Box<dyn Session>> {
        let id = self.sessions.add(session)?;
        match self.shares.iter_mut().find(|share| Arc::ptr_eq(&share.account, &account)) {
            Some(share) => share.add(id),
            None => {
                let mut share = Share::new(account, self.free_number());
                graph.reach_tenant(share.number);
                share.add(id);
                self.shares.push(share);
                self.light.reserve(self.shares.len());
            }
        }
        Ok(id)
    }

    /// Number that no tenant has. There are no more tenants than sessions.
    fn free_number(&self) -> TenantNumber {
        let mut taken = vec![false; self.shares.len() + 1];
        for share in &self.shares {
            if let Some(place) = taken.get_mut(usize::from(share.number.0)) {
                *place = true;
            }
        }
        let free = (0..).zip(taken).find(|(_, taken)| !taken);
        free.map_or(TenantNumber(Tag::SESSIONS_MAX), |(number, _)| TenantNumber(number))
    }

    /// Takes a session out, and the share out that has none left.
    pub fn remove(&mut self, id: SessionId) -> Option<Box<dyn Session>> {
        self.shares.iter_mut().for_each(|share| share.remove(id));
        if self.shares.iter().any(Share::is_empty) {
            self.shares.retain(|share| !share.is_empty());
            self.forget_light();
        }
        self.sessions.remove(id)
    }

    /// Empties the list of light shares, whose places have changed: the round finds them again.
    fn forget_light(&mut self) {
        self.light.clear();
        self.is_refilled = false;
        self.shares.iter_mut().for_each(|share| share.is_listed = false);
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

impl Taken {
    /// Visits a tenant, and charges it for the work.
    #[inline]
    fn add_visit(&mut self, share: &mut Share, sessions: &mut Sessions, graph: &mut Graph) -> Visit {
        let credit = share.credit;
        let work = share.visit(sessions, graph);
        self.spent += credit - share.credit;
        let used_up = graph.take_used_up();
        if work == Work::default() {
            return if used_up { Visit::UsedUp } else { Visit::Nothing };
        }
        self.now = share.charge(work, self.now);
        self.any = true;
        if i64::from(work) < share.quantum / LIGHT_PART { Visit::LittleWork } else { Visit::MuchWork }
    }

    /// Whether the turn is to end.
    #[inline]
    fn is_enough(&self) -> bool {
        self.spent >= Work::TURN.into()
    }
}

impl Share {
    fn new(account: Arc<Account>, number: TenantNumber) -> Self {
        Self {
            account,
            number,
            active: Rotation::default(),
            idle: Rotation::default(),
            idle_looks: 0,
            quantum: Work::QUANTUM.into(),
            credit: 0,
            refilled_in: 0,
            is_listed: false,
        }
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

    /// Adds what a round gives, in the visit with this number.
    #[inline]
    fn refill(&mut self, visit: i64) {
        self.refilled_in = visit;
        self.earn(1);
    }

    /// Adds what so many rounds give. Credit that a tenant has no work for is lost, but for what is too little for a
    /// visit.
    #[inline]
    fn earn(&mut self, rounds: i64) {
        let most = self.quantum + self.quantum / LIGHT_PART;
        self.credit = (self.credit + rounds * self.quantum).min(most);
    }

    /// Whether it may be visited before the round comes to it, after a visit. One with much work needs some credit for it.
    #[inline]
    fn is_light(&self, visit: Visit) -> bool {
        self.credit >= if visit == Visit::MuchWork { self.quantum / LIGHT_PART } else { 1 }
    }

    /// Whether it has used up no more of its credit than has passed of a round of `count` visits: its credit lasts for the
    /// round then.
    #[inline]
    fn is_due(&self, visits: i64, count: usize) -> bool {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let used = self.quantum - self.credit;
        used.saturating_mul(count) <= (visits - self.refilled_in).saturating_mul(self.quantum)
    }

    /// Lets the tenant's sessions take requests, as far as its credit reaches. Returns the work that was done.
    #[inline]
    fn visit(&mut self, sessions: &mut Sessions, graph: &mut Graph) -> Work {
        graph.begin_visit(self.number);
        let done = self.visit_active(sessions, graph);
        self.idle_looks += self.idle.len();
        if self.idle_looks < IDLE_VISITS { done } else { done.plus(self.visit_idle(sessions, graph)) }
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
                    done = done.plus(work);
                }
                Took::NoRoom => self.credit -= i64::from(Work::LOOK),
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
        let looks = self.idle_looks / IDLE_VISITS;
        self.idle_looks %= IDLE_VISITS;
        for _ in 0..looks {
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
                done = done.plus(work);
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

#[cfg(test)]
mod tests;

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
//! Active sessions are looked at in every visit, each idle one in every sixteenth. So rings that stay empty cost nearly
//! nothing, be they few or many.
//!
//! Invariant: a visit does at most the work of the credit, and the work of one session beyond it: a chain, or the
//! data of a request. A debt is paid back by later visits, in which nothing is taken; faster, where nobody has work.

use crate::account::Account;
use crate::rotation::Rotation;
use crate::session::{Published, Session, SessionId, Took};
use crate::sessions::Sessions;
use luge_block::Tag;
use luge_volume::{Graph, TenantNumber, Ticks, Work};
use std::sync::Arc;

/// Visits in a row after which a session that has nothing is idle.
const LOOKS_MAX: u16 = 256;

/// Visits in which all idle sessions are looked at once.
const IDLE_VISITS: usize = 16;

/// Most rounds that are skipped after a turn in which nothing was taken.
const ROUNDS_SKIPPED: i64 = 4;

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
    /// Number by which volumes know the tenant.
    number: TenantNumber,
    active: Rotation,
    idle: Rotation,
    /// Looks at idle sessions that are due, in parts of [`IDLE_VISITS`].
    idle_looks: usize,
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
                done = done.plus(work);
                if done >= Work::TURN {
                    self.first = at;
                    return true;
                }
            }
        }
        self.first = self.first.wrapping_add(1);
        self.first = if self.first < count { self.first } else { 0 };
        let was_idle = done == Work::default();
        if was_idle {
            self.skip_rounds();
        }
        !was_idle
    }

    /// Skips rounds in which all tenants with work would pay back debts: nobody else wants the time. Only a few,
    /// because somebody who makes one request at a time will want it soon.
    fn skip_rounds(&mut self) {
        let least = self.shares.iter().map(|share| -share.credit).filter(|&debt| debt > 0).min();
        let Some(least) = least else { return };
        let quantum = i64::from(Work::QUANTUM);
        let paid = (least / quantum).min(ROUNDS_SKIPPED) * quantum;
        self.shares.iter_mut().for_each(|share| share.credit = (share.credit + paid).min(quantum));
    }

    /// Adds a session of the tenant with this account; gives it back where there are as many as tags can name.
    pub(crate) fn add(
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
            }
        }
        Ok(id)
    }

    /// Number that no tenant has. There are no more tenants than sessions.
    fn free_number(&self) -> TenantNumber {
        let is_free = |number: &TenantNumber| self.shares.iter().all(|share| share.number != *number);
        (0..Tag::SESSIONS_MAX).map(TenantNumber).find(is_free).unwrap_or(TenantNumber(Tag::SESSIONS_MAX))
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
    fn new(account: Arc<Account>, number: TenantNumber) -> Self {
        Self {
            account,
            number,
            active: Rotation::default(),
            idle: Rotation::default(),
            idle_looks: 0,
            credit: 0,
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

    /// Lets the tenant's sessions take requests, as far as its credit reaches. Returns the work that was done.
    #[inline]
    fn visit(&mut self, sessions: &mut Sessions, graph: &mut Graph) -> Work {
        self.credit = (self.credit + i64::from(Work::QUANTUM)).min(Work::QUANTUM.into());
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
mod tests {
    use super::*;
    use crate::account::Accounts;
    use crate::session::Armed;
    use crate::{Kick, Tenant};
    use luge_block::Completion;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// A session's counters: how often it was asked, and what it answers.
    #[derive(Default)]
    struct Script {
        takes: AtomicU64,
        publishes: AtomicU64,
        /// Work of each take; none if zero.
        work: AtomicU64,
        /// Interrupts that do not reach the guest.
        owed: AtomicU64,
    }

    struct Scripted(Arc<Script>);

    impl Session for Scripted {
        fn adopt(&mut self, _id: SessionId) {}

        fn take(&mut self, _graph: &mut Graph, allowance: Work) -> Took {
            assert!(allowance > Work::default());
            self.0.takes.fetch_add(1, Relaxed);
            match u32::try_from(self.0.work.load(Relaxed)).unwrap() {
                0 => Took::Nothing,
                work => Took::Work(Work(work)),
            }
        }

        fn finish(&mut self, _done: &[Completion]) {}

        fn publish(&mut self) -> Published {
            self.0.publishes.fetch_add(1, Relaxed);
            let left = self.0.owed.fetch_update(Relaxed, Relaxed, |owed| owed.checked_sub(1));
            if left.is_ok() { Published::Owing } else { Published::All }
        }

        fn arm(&mut self) -> Armed {
            Armed::Quiet
        }

        fn disarm(&mut self) {}

        fn kick(&self) -> Option<&Kick> {
            None
        }

        fn needs_polling(&self) -> bool {
            false
        }

        fn in_flight(&self) -> usize {
            0
        }

        fn quiesce(&mut self) {}
    }

    /// A schedule with sessions that are scripted.
    #[derive(Default)]
    struct House {
        schedule: Schedule,
        graph: Graph,
        accounts: Accounts,
    }

    impl House {
        fn tenant(name: &str) -> Tenant {
            Tenant::Owner(name.into())
        }

        /// Adds sessions of a tenant, each of which does so much work in a take.
        fn add(&mut self, tenant: &str, sessions: usize, work: u64) -> Vec<Arc<Script>> {
            let account = self.accounts.of(&Self::tenant(tenant));
            let add = |_| {
                let script = Arc::new(Script { work: work.into(), ..Script::default() });
                let session = Box::new(Scripted(script.clone()));
                self.schedule.add(session, account.clone(), &mut self.graph).ok().unwrap();
                script
            };
            (0..sessions).map(add).collect()
        }

        fn turns(&mut self, count: usize) {
            for _ in 0..count {
                self.schedule.turn(&mut self.graph, Ticks::PAST);
            }
        }

        fn work(&self, tenant: &str) -> u64 {
            self.accounts.of(&Self::tenant(tenant)).work()
        }
    }

    /// Whether two numbers differ by at most a tenth of the second.
    fn are_close(one: u64, other: u64) -> bool {
        one.abs_diff(other) <= other / 10
    }

    const SHORT: u64 = 64;

    #[test]
    fn tenants_get_equal_shares_whatever_number_of_rings_they_have() {
        let mut house = House::default();
        house.add("many", 256, SHORT);
        house.add("one", 1, SHORT * 100);
        house.turns(10_000);
        let (many, one) = (house.work("many"), house.work("one"));
        assert!(are_close(many, one), "{many} for 256 rings, {one} for one");
    }

    #[test]
    fn a_tenant_whose_requests_are_costly_gets_no_more_than_its_share() {
        let mut house = House::default();
        house.add("costly", 8, 50 * u64::from(Work::QUANTUM.0));
        house.add("cheap", 1, u64::from(Work::QUANTUM.0));
        house.turns(10_000);
        let (costly, cheap) = (house.work("costly"), house.work("cheap"));
        assert!(are_close(costly, cheap), "{costly} by requests of fifty quanta, {cheap} by others");
    }

    #[test]
    fn a_tenant_that_is_alone_pays_its_debts_faster() {
        let mut house = House::default();
        let work = 50 * u64::from(Work::QUANTUM.0);
        house.add("costly", 1, work);
        house.add("idle", 1, 0);
        house.turns(1100);
        let takes = house.work("costly") / work;
        assert!((95..=105).contains(&takes), "once in about 11 turns, not in 50: {takes}");
    }

    #[test]
    fn a_hundred_tenants_get_a_hundredth_each() {
        let mut house = House::default();
        for tenant in 0..100 {
            let work = u64::from(Work::QUANTUM.0) + 300 * u64::try_from(tenant).unwrap();
            house.add(&tenant.to_string(), 1 + tenant % 7, work);
        }
        house.turns(20_000);
        let all: Vec<u64> = (0..100).map(|tenant| house.work(&tenant.to_string())).collect();
        let mean = all.iter().sum::<u64>() / 100;
        assert!(all.iter().all(|&work| are_close(work, mean)), "{mean} on average: {all:?}");
    }

    #[test]
    fn a_turn_ends_when_enough_was_done_and_the_next_one_goes_on_there() {
        let mut house = House::default();
        let quantum = u64::from(Work::QUANTUM.0);
        let sessions: Vec<_> =
            (0..50).flat_map(|tenant| house.add(&tenant.to_string(), 1, quantum)).collect();
        let takes = |sessions: &[Arc<Script>]| -> u64 {
            sessions.iter().map(|session| session.takes.load(Relaxed)).sum()
        };
        house.turns(1);
        assert_eq!(takes(&sessions), u64::from(Work::TURN.0) / quantum, "a turn is bounded");
        house.turns(24);
        assert!(sessions.iter().all(|session| session.takes.load(Relaxed) == 1), "all had their turn");
    }

    #[test]
    fn rings_that_stay_empty_are_looked_at_rarely_and_found_when_they_are_not() {
        let mut house = House::default();
        let idle = house.add("idle", 256, 0);
        // Looks cost work, too: so it takes more turns than looks.
        house.turns(2000);
        let before: u64 = idle.iter().map(|session| session.takes.load(Relaxed)).sum();
        house.turns(160);
        let after: u64 = idle.iter().map(|session| session.takes.load(Relaxed)).sum();
        assert_eq!(after - before, 160 * 256 / 16, "a sixteenth of them in each turn");
        idle[100].work.store(SHORT, Relaxed);
        house.turns(16);
        assert!(house.work("idle") > 0, "found within sixteen turns");
        house.turns(100);
        assert!(house.work("idle") >= 100 * SHORT, "and served in every turn then");
    }

    #[test]
    fn a_single_idle_ring_is_looked_at_in_every_sixteenth_visit_too() {
        let mut house = House::default();
        house.add("one", 1, SHORT);
        let idle = house.add("one", 1, 0).remove(0);
        house.turns(LOOKS_MAX.into());
        let before = idle.takes.load(Relaxed);
        house.turns(160);
        assert_eq!(idle.takes.load(Relaxed) - before, 10);
    }

    #[test]
    fn after_a_sleep_all_rings_are_looked_at_in_the_first_turn() {
        let mut house = House::default();
        let idle = house.add("idle", 64, 0);
        house.turns(2000);
        idle[63].work.store(SHORT, Relaxed);
        house.schedule.wake();
        house.turns(1);
        assert_eq!(house.work("idle"), SHORT);
    }

    #[test]
    fn who_owes_an_interrupt_publishes_again_in_each_turn_until_it_is_paid() {
        let mut house = House::default();
        let session = house.add("owing", 1, SHORT).remove(0);
        session.owed.store(5, Relaxed);
        house.turns(1);
        session.work.store(0, Relaxed);
        house.turns(20);
        assert_eq!(session.publishes.load(Relaxed), 6, "once, and five times again");
    }

    #[test]
    fn a_tenant_that_has_left_takes_no_part_of_the_next_turns() {
        let mut house = House::default();
        house.add("stays", 1, SHORT);
        let account = house.accounts.of(&House::tenant("leaves"));
        let script = Arc::new(Script { work: SHORT.into(), ..Script::default() });
        let id =
            house.schedule.add(Box::new(Scripted(script.clone())), account, &mut house.graph).ok().unwrap();
        house.turns(10);
        assert!(house.schedule.remove(id).is_some());
        let takes = script.takes.load(Relaxed);
        house.turns(10);
        assert_eq!(script.takes.load(Relaxed), takes);
        assert_eq!(house.work("stays"), 20 * SHORT);
    }
}

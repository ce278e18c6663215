//! Shares of tenants, with sessions that are scripted: work is counted, and no time is measured.

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
    /// Takes that find no room beneath.
    refusals: AtomicU64,
    /// Interrupts that do not reach the guest.
    owed: AtomicU64,
}

struct Scripted(Arc<Script>);

impl Session for Scripted {
    fn adopt(&mut self, _id: SessionId) {}

    fn take(&mut self, _graph: &mut Graph, allowance: Work) -> Took {
        assert!(allowance > Work::default());
        self.0.takes.fetch_add(1, Relaxed);
        if self.0.refusals.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Took::NoRoom;
        }
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
            self.schedule.add(session, account.clone()).ok().unwrap();
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

/// The work of a round.
const QUANTUM: u64 = Work::QUANTUM.0 as u64;

/// A house with so many tenants that have work without end.
fn busy_house(tenants: u64) -> House {
    let mut house = House::default();
    (0..tenants).for_each(|tenant| drop(house.add(&tenant.to_string(), 1, QUANTUM)));
    house
}

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
    house.add("costly", 8, 50 * QUANTUM);
    house.add("cheap", 1, QUANTUM);
    house.turns(10_000);
    let (costly, cheap) = (house.work("costly"), house.work("cheap"));
    assert!(are_close(costly, cheap), "{costly} by requests of fifty quanta, {cheap} by others");
}

#[test]
fn a_tenant_that_is_alone_pays_its_debts_faster() {
    let mut house = House::default();
    let work = 50 * QUANTUM;
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
        let work = QUANTUM + 300 * u64::try_from(tenant).unwrap();
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
    let quantum = QUANTUM;
    let sessions: Vec<_> = (0..50).flat_map(|tenant| house.add(&tenant.to_string(), 1, quantum)).collect();
    let takes = |sessions: &[Arc<Script>]| -> u64 {
        sessions.iter().map(|session| session.takes.load(Relaxed)).sum()
    };
    house.turns(1);
    assert_eq!(takes(&sessions), u64::from(Work::TURN.0) / quantum, "a turn is bounded");
    house.turns(49);
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
    let id = house.schedule.add(Box::new(Scripted(script.clone())), account).ok().unwrap();
    house.turns(10);
    assert!(house.schedule.remove(id).is_some());
    let takes = script.takes.load(Relaxed);
    house.turns(10);
    assert_eq!(script.takes.load(Relaxed), takes);
    assert_eq!(house.work("stays"), 20 * SHORT);
}

#[test]
fn a_tenant_with_little_work_is_served_in_every_turn_beside_a_hundred_with_much() {
    let mut house = busy_house(100);
    let light = house.add("light", 1, SHORT / 2).remove(0);
    // The round has come to it once.
    house.turns(101);
    let before = light.takes.load(Relaxed);
    // Less than its part of the round, which is about as many turns.
    house.turns(80);
    assert_eq!(light.takes.load(Relaxed) - before, 80);
}

#[test]
fn a_tenant_whose_visits_leave_credit_over_gets_its_share_and_no_more() {
    for part in [2, 3, 5, 15] {
        let mut house = busy_house(20);
        house.add("piecemeal", 1, QUANTUM / part);
        house.turns(10_000);
        let (piecemeal, other) = (house.work("piecemeal"), house.work("7"));
        assert!(are_close(piecemeal, other), "{piecemeal} by parts of 1/{part}, {other} by whole quanta");
    }
}

#[test]
fn a_crowd_of_tenants_with_little_work_takes_nothing_from_one_with_much() {
    let mut house = House::default();
    (0..300).for_each(|tenant| drop(house.add(&tenant.to_string(), 1, QUANTUM / 2)));
    house.add("busy", 1, QUANTUM);
    house.turns(30_000);
    let (busy, mean) = (house.work("busy"), (0..300).map(|n| house.work(&n.to_string())).sum::<u64>() / 300);
    assert!(are_close(busy, mean), "{busy} beside {mean} each");
}

#[test]
fn a_turn_looks_at_a_bounded_number_of_light_tenants_before_the_round_goes_on() {
    let mut house = busy_house(2);
    let crowd: Vec<_> = (0..500).flat_map(|n| house.add(&format!("light{n}"), 1, 0)).collect();
    // One busy tenant in each turn; the third comes through the crowd to the first of them.
    house.turns(3);
    let looks = || crowd.iter().map(|one| one.takes.load(Relaxed)).sum::<u64>();
    assert_eq!(looks(), 500);
    house.turns(1);
    assert_eq!(looks(), 500 + u64::try_from(LIGHT_VISITS_MAX).unwrap());
    assert_eq!(house.work("1"), 2 * QUANTUM, "the round has gone on");
}

#[test]
fn who_found_no_room_is_among_the_first_in_the_next_turn() {
    let mut house = busy_house(10);
    let refused = house.add("refused", 1, QUANTUM).remove(0);
    (10..50).for_each(|tenant| drop(house.add(&tenant.to_string(), 1, QUANTUM)));
    refused.refusals.store(1, Relaxed);
    house.turns(11);
    assert_eq!(refused.takes.load(Relaxed), 1);
    assert_eq!(house.work("refused"), 0);
    house.turns(1);
    assert_eq!(house.work("refused"), QUANTUM);
}

#[test]
fn a_light_tenant_is_served_in_every_turn_after_another_has_left() {
    let mut house = House::default();
    let leaves = house.accounts.of(&House::tenant("leaves"));
    let script = Arc::new(Script { work: QUANTUM.into(), ..Script::default() });
    let id = house.schedule.add(Box::new(Scripted(script)), leaves).ok().unwrap();
    (0..50).for_each(|tenant| drop(house.add(&tenant.to_string(), 1, QUANTUM)));
    let light = house.add("light", 1, SHORT).remove(0);
    house.turns(60);
    assert!(house.schedule.remove(id).is_some());
    house.turns(60);
    let before = light.takes.load(Relaxed);
    house.turns(40);
    let takes = light.takes.load(Relaxed) - before;
    assert!(takes >= 40, "{takes} takes");
}

#[test]
fn looks_at_empty_rings_end_a_turn_too_and_all_are_looked_at_in_turns() {
    let mut house = House::default();
    let rings: Vec<_> = (0..20).flat_map(|tenant| house.add(&tenant.to_string(), 256, 0)).collect();
    let looks = || rings.iter().map(|ring| ring.takes.load(Relaxed)).sum::<u64>();
    for _ in 0..20 {
        let before = looks();
        house.turns(1);
        let (looks, most) = (looks() - before, 2 * u64::from(Work::TURN.0 / Work::LOOK.0) + 256);
        assert!(looks <= most, "{looks} looks in a turn, {most} at most");
    }
    assert!(rings.iter().all(|ring| ring.takes.load(Relaxed) > 0), "each was looked at");
}

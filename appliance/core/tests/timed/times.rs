//! Sessions and nodes that ask a core for a turn at a time.

use crate::rig::{Requests, Timed, tenant, until};
use luge_block::{Blocks, CoreId, Lba, NullDevice, Shape};
use luge_core::{CoreHandle, Fence, SessionId, Ticks};
use luge_volume::Volume;
use luge_volume::doubles::{Delay, Delaying};
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_millis(200);
const HOUR: Duration = Duration::from_secs(3600);

/// A core that is stopped in the end.
struct Rig {
    core: CoreHandle,
}

impl Rig {
    fn new() -> Self {
        Self { core: CoreHandle::spawn(CoreId(0)).unwrap() }
    }

    fn add(&self, session: Timed) -> SessionId {
        self.core.add_session(Box::new(session), &tenant()).unwrap_or_else(|_| unreachable!())
    }

    fn remove(&self, id: SessionId) {
        drop(self.core.remove_session(id));
    }

    /// Changes a session between two turns.
    fn change<R: Send + 'static>(
        &self,
        id: SessionId,
        change: impl FnOnce(&mut Timed) -> R + Send + 'static,
    ) -> R {
        self.core.call(move |core| change(core.session_as(id).unwrap()))
    }

    /// CPU time of the core's thread.
    fn cpu_time(&self) -> Duration {
        let time = self.core.call(|_| clock_gettime(ClockId::ThreadCPUTime));
        time.try_into().unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.core.stop();
    }
}

#[test]
fn a_session_is_called_not_before_its_time_though_nothing_else_happens() {
    let rig = Rig::new();
    for wait in [Duration::from_micros(5), Duration::from_micros(50), Duration::from_micros(700), SHORT] {
        let (session, calls) = Timed::at(Ticks::now() + wait);
        let id = rig.add(session);
        until("it is called", || calls.count() == 1);
        let [call] = calls.all()[..] else { panic!("it is called once") };
        assert!(call.made >= call.due, "{wait:?}");
        rig.remove(id);
    }
}

#[test]
fn a_core_that_waits_for_a_time_uses_no_cpu() {
    let rig = Rig::new();
    let (session, calls) = Timed::at(Ticks::now() + LONG);
    let id = rig.add(session);
    let (cpu, sleeps) = (rig.cpu_time(), rig.core.stats().sleeps());
    until("it is called", || calls.count() == 1);
    let used = rig.cpu_time() - cpu;
    assert!(used < LONG / 10, "{used:?} of CPU in {LONG:?}");
    assert!(rig.core.stats().sleeps() - sleeps <= 4, "one sleep, and those of the questions");
    rig.remove(id);
}

#[test]
fn a_session_may_ask_for_one_time_after_the_other_and_its_core_does_not_poll_longer_for_that() {
    let rig = Rig::new();
    let (session, calls) = Timed::every(Duration::from_micros(300));
    let id = rig.add(session);
    until("a hundred times", || calls.count() >= 100);
    assert!(rig.core.stats().poll_window_us() <= 200, "{}", rig.core.stats().poll_window_us());
    rig.remove(id);
    assert!(calls.all().iter().all(|call| call.made >= call.due));
}

#[test]
fn a_time_that_is_moved_closer_counts() {
    let rig = Rig::new();
    let (session, calls) = Timed::at(Ticks::now() + HOUR);
    let id = rig.add(session);
    until("asleep", || rig.core.stats().asleep());
    rig.change(id, |session| session.ask_at(Some(Ticks::now() + SHORT)));
    until("sooner", || calls.count() == 1);
    rig.remove(id);
}

#[test]
fn a_time_that_is_moved_away_or_taken_back_counts_no_more() {
    let rig = Rig::new();
    for later in [None, Some(Ticks::now() + HOUR)] {
        let (session, calls) = Timed::at(Ticks::now() + SHORT);
        let id = rig.add(session);
        // On a busy machine it may have been called by now.
        let before = rig.change(id, move |session| session.ask_instead(later));
        let (other, others) = Timed::at(Ticks::now() + 2 * SHORT);
        let other = rig.add(other);
        until("the other", || others.count() == 1);
        assert_eq!(calls.count(), before, "{later:?}: its first time has passed");
        [id, other].into_iter().for_each(|id| rig.remove(id));
    }
}

#[test]
fn each_of_many_sessions_has_its_own_time() {
    let rig = Rig::new();
    let start = Ticks::now();
    let sessions: Vec<_> = (0..500_u64)
        .map(|i| {
            let (session, calls) = Timed::at(start + Duration::from_micros(i * 7919 % 30_000));
            (rig.add(session), calls)
        })
        .collect();
    for (_, calls) in &sessions {
        until("called", || calls.count() == 1);
    }
    for (id, calls) in sessions {
        rig.remove(id);
        let [call] = calls.all()[..] else { panic!("it is called once") };
        assert!(call.made >= call.due);
    }
}

#[test]
fn times_that_are_odd_hold_nobody_up() {
    let rig = Rig::new();
    let (never, nevers) = Timed::at(Ticks(u64::MAX));
    let never = rig.add(never);
    until("asleep", || rig.core.stats().asleep());
    let (always, calls) = Timed::at(Ticks::PAST);
    let always = rig.add(always);
    until("called at once", || calls.count() == 1);
    rig.change(always, |session| session.repeat(Ticks::PAST));
    until("called each turn", || calls.count() > 1000);
    let (other, others) = Timed::every(Duration::from_micros(100));
    let other = rig.add(other);
    until("the other is called, too", || others.count() > 10);
    assert!(!rig.core.stats().asleep());
    [always, other].into_iter().for_each(|id| rig.remove(id));
    until("asleep again", || rig.core.stats().asleep());
    assert_eq!(nevers.count(), 0);
    rig.remove(never);
}

#[test]
fn a_session_that_has_left_is_not_called_nor_woken_for() {
    let rig = Rig::new();
    let (session, calls) = Timed::at(Ticks::now() + SHORT);
    let id = rig.add(session);
    rig.remove(id);
    // On a busy machine it may have been called before.
    let before = calls.count();
    until("asleep", || rig.core.stats().asleep());
    let (other, others) = Timed::at(Ticks::now() + 2 * SHORT);
    let sleeps = rig.core.stats().sleeps();
    let other = rig.add(other);
    until("the other", || others.count() == 1);
    assert_eq!(calls.count(), before);
    assert!(rig.core.stats().sleeps() - sleeps <= 2, "the one it was in, and one until the other's time");
    rig.remove(other);
}

#[test]
fn a_core_that_is_busy_calls_in_time_too() {
    let rig = Rig::new();
    let volume = Arc::new(Volume::whole(Arc::new(NullDevice::new(Shape::new(512, Blocks(8)).unwrap()))));
    let attachment = rig.core.attach(&volume).unwrap();
    let (busy, requests) = Requests::on(attachment.volume());
    let busy = rig.core.add_session(busy, &tenant()).unwrap_or_else(|_| unreachable!());
    requests.ask(usize::MAX / 2);
    let (session, calls) = Timed::every(Duration::from_micros(200));
    let id = rig.add(session);
    let sleeps = rig.core.stats().sleeps();
    until("called", || calls.count() >= 20);
    assert_eq!(rig.core.stats().sleeps(), sleeps, "it is busy");
    requests.ask(0);
    assert!(calls.all().iter().all(|call| call.made >= call.due));
    rig.remove(id);
    drop(rig.core.remove_session(busy));
    drop(attachment);
}

/// A volume whose requests take `LONG`.
fn slow_volume() -> Arc<Volume> {
    let device = NullDevice::new(Shape::new(512, Blocks(8)).unwrap());
    let delayed = Delaying::new(Arc::new(Volume::whole(Arc::new(device))), Delay::of(LONG));
    Arc::new(Volume::of_composite(Arc::new(delayed)))
}

#[test]
fn a_core_sleeps_while_a_fence_waits_for_requests_that_a_node_holds() {
    let rig = Rig::new();
    let attachment = rig.core.attach(&slow_volume()).unwrap();
    let (session, requests) = Requests::on(attachment.volume());
    let id = rig.core.add_session(session, &tenant()).unwrap_or_else(|_| unreachable!());
    requests.ask(3);
    rig.core.call(|_| ());
    until("taken", || requests.waiting() == 0);
    let cpu = rig.cpu_time();
    let fence = Fence::raise([&attachment], Lba(0)..Lba(8)).unwrap();
    assert_eq!(requests.ended(), 3, "it has waited for them");
    let used = rig.cpu_time() - cpu;
    assert!(used < LONG / 10, "{used:?} of CPU in {LONG:?}");
    drop(fence);
    drop(rig.core.remove_session(id));
    drop(attachment);
}

#[test]
fn a_core_sleeps_while_a_node_holds_requests_and_turns_at_their_time() {
    let rig = Rig::new();
    let attachment = rig.core.attach(&slow_volume()).unwrap();
    let (session, requests) = Requests::on(attachment.volume());
    let id = rig.core.add_session(session, &tenant()).unwrap_or_else(|_| unreachable!());
    let cpu = rig.cpu_time();
    let start = Ticks::now();
    requests.ask(3);
    rig.core.call(|_| ());
    until("asleep", || rig.core.stats().asleep() && requests.waiting() == 0);
    until("ended", || requests.ended() == 3);
    assert!(Ticks::now() >= start + LONG);
    let used = rig.cpu_time() - cpu;
    assert!(used < LONG / 10, "{used:?} of CPU in {LONG:?}");
    drop(rig.core.remove_session(id));
    drop(attachment);
}

//! Crowds that come and go.

use crate::rig::{Timed, tenant, until};
use luge_block::CoreId;
use luge_core::{CoreHandle, SessionId, Ticks};
use std::sync::Barrier;

fn add(core: &CoreHandle) -> SessionId {
    let (session, _) = Timed::at(Ticks(u64::MAX));
    core.add_session(Box::new(session), &tenant()).unwrap_or_else(|_| unreachable!())
}

#[test]
fn sessions_that_leave_all_at_once_are_all_let_go() {
    let core = CoreHandle::spawn(CoreId(0)).unwrap();
    let sessions: Vec<_> = (0..1000).map(|_| add(&core)).collect();
    let at_once = Barrier::new(sessions.len());
    std::thread::scope(|scope| {
        for &id in &sessions {
            let (core, at_once) = (&core, &at_once);
            scope.spawn(move || {
                at_once.wait();
                core.remove_session(id);
            });
        }
    });
    until("asleep", || core.stats().asleep());
    core.stop();
}

#[test]
fn sessions_that_come_and_go_on_all_sides_keep_no_place_and_no_time() {
    let core = CoreHandle::spawn(CoreId(0)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    drop(core.remove_session(add(&core)));
                }
            });
        }
    });
    assert_eq!(add(&core), SessionId(0), "no place is taken");
    core.remove_session(SessionId(0));
    until("asleep", || core.stats().asleep());
    core.stop();
}

//! A target port group: ports whose access state is one.
//!
//! ```text
//!  (1) transitioning --all initiators of the group are live--------------------------> (2) active
//!  (1) transitioning --the transition time has passed since the first one was live---> (2) active
//! ```
//!
//! A group never goes back: an initiator that leaves is no concern of others.

use super::numbers::PortNumbers;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use thiserror::Error;

/// The most seconds that a transition can be said to take.
pub const TRANSITION_SECONDS_MAX: u8 = u8::MAX;

/// Error of a group that cannot be declared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum GroupError {
    /// Zero is the number of the ports that are in no group.
    #[error("a path group has a number from 1 to 65535: 0 is that of all paths without a group")]
    Zero,
    /// The report says it in one byte, and zero is nothing.
    #[error("a transition of {0} s is not possible: 1 to {TRANSITION_SECONDS_MAX} s are")]
    Time(u64),
    /// A group has another time.
    #[error("path group {number} exists with a transition of {seconds} s: give that one, or another group")]
    OtherTime {
        /// Number of the group.
        number: u16,
        /// Transition time of the group.
        seconds: u8,
    },
}

/// Access state of all ports of a group. SPC-4, table 308.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AccessState {
    /// Active/optimized.
    Active,
    /// Transitioning.
    Transitioning,
}

/// One that is told when a group becomes active.
pub(crate) trait StateObserver: Send + Sync {
    /// Takes note that the state of a group has changed. Called with nothing locked.
    fn state_changed(&self);
}

/// An initiator of a group.
#[derive(Debug, Default)]
pub(crate) struct Member {
    is_live: AtomicBool,
}

/// A target port group.
pub struct PortGroup {
    number: u16,
    /// Zero where the group is active from the beginning.
    transition_seconds: u8,
    numbers: Arc<PortNumbers>,
    inner: Mutex<Inner>,
}

struct Inner {
    state: AccessState,
    /// Moment at which the first member was live.
    since: Option<Instant>,
    members: Vec<Weak<Member>>,
    observers: Vec<Weak<dyn StateObserver>>,
}

impl PortGroup {
    /// A group of ports that are always active.
    pub(super) fn active(numbers: &Arc<PortNumbers>) -> Self {
        Self::new(0, 0, numbers)
    }

    /// A group in transition; in state (1).
    pub(super) fn new(number: u16, transition_seconds: u8, numbers: &Arc<PortNumbers>) -> Self {
        let state = if transition_seconds == 0 { AccessState::Active } else { AccessState::Transitioning };
        let inner = Inner { state, since: None, members: Vec::new(), observers: Vec::new() };
        Self { number, transition_seconds, numbers: numbers.clone(), inner: Mutex::new(inner) }
    }

    /// Number of the group.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Longest time in seconds for which the group is in transition; zero where it never is.
    #[must_use]
    pub const fn transition_seconds(&self) -> u8 {
        self.transition_seconds
    }

    /// Whether its ports serve all commands now.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state() == AccessState::Active
    }

    pub(super) fn numbers(&self) -> &Arc<PortNumbers> {
        &self.numbers
    }

    /// State at this moment.
    pub(crate) fn state(&self) -> AccessState {
        self.look(Instant::now())
    }

    /// (1) to (2), where that is due.
    fn look(&self, now: Instant) -> AccessState {
        let mut inner = self.inner();
        if inner.state == AccessState::Active || !inner.is_due(now, self.transition_seconds) {
            return inner.state;
        }
        inner.state = AccessState::Active;
        let observers = std::mem::take(&mut inner.observers);
        drop(inner);
        observers.iter().filter_map(Weak::upgrade).for_each(|observer| observer.state_changed());
        AccessState::Active
    }

    /// Adds an initiator.
    pub(super) fn join(&self) -> Arc<Member> {
        let member = Arc::<Member>::default();
        self.inner().members.push(Arc::downgrade(&member));
        member
    }

    /// Takes note that an initiator is there.
    pub(super) fn set_live(&self, member: &Member) {
        member.is_live.store(true, Ordering::Relaxed);
        self.inner().since.get_or_insert_with(Instant::now);
        self.state();
    }

    /// Adds one that is told when the group becomes active, unless it is.
    pub(crate) fn observe(&self, observer: Weak<dyn StateObserver>) {
        let mut inner = self.inner();
        if inner.state == AccessState::Transitioning {
            inner.observers.retain(|other| other.strong_count() > 0 && !Weak::ptr_eq(other, &observer));
            inner.observers.push(observer);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_due(&mut self, now: Instant, seconds: u8) -> bool {
        self.members.retain(|member| member.strong_count() > 0);
        let is_live = |member: Arc<Member>| member.is_live.load(Ordering::Relaxed);
        let Some(since) = self.since else { return false };
        let all_live = self.members.iter().filter_map(Weak::upgrade).all(is_live);
        all_live || now.saturating_duration_since(since) >= Duration::from_secs(seconds.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> PortGroup {
        PortGroup::new(7, 3, &Arc::default())
    }

    #[test]
    fn a_group_becomes_active_when_all_its_initiators_are_live() {
        let group = group();
        let (first, second) = (group.join(), group.join());
        assert_eq!(group.state(), AccessState::Transitioning);
        group.set_live(&first);
        assert_eq!(group.state(), AccessState::Transitioning);
        group.set_live(&second);
        assert_eq!(group.state(), AccessState::Active);
        group.join();
        assert_eq!(group.state(), AccessState::Active, "one that comes later");
    }

    #[test]
    fn a_group_becomes_active_when_the_told_time_has_passed() {
        let group = group();
        let (first, _second) = (group.join(), group.join());
        let begin = Instant::now();
        assert_eq!(group.look(begin + Duration::from_secs(9)), AccessState::Transitioning, "nobody is live");
        group.set_live(&first);
        assert_eq!(group.look(begin + Duration::from_secs(2)), AccessState::Transitioning);
        let late = Instant::now() + Duration::from_secs(3);
        assert_eq!(group.look(late), AccessState::Active);
    }

    #[test]
    fn an_initiator_that_is_gone_is_not_waited_for() {
        let group = group();
        let first = group.join();
        let second = group.join();
        group.set_live(&first);
        drop(second);
        assert_eq!(group.state(), AccessState::Active);
    }
}

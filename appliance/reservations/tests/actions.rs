//! Each command of the standards, and whom it tells.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_reservations::{
    Action, Claim, Identity, Key, Notice, Outcome, Own, Preempt, REGISTRANTS_MAX, Refused, ReservationType,
    Scope, State,
};

const A: Identity = Identity::nvme(1);
const B: Identity = Identity::nvme(2);
const C: Identity = Identity::nvme(3);
const KEY_A: Key = Key(0xa1);
const KEY_B: Key = Key(0xb1);
const KEY_C: Key = Key(0xc1);
const WE: ReservationType = ReservationType::WriteExclusive;
const WERO: ReservationType = ReservationType::WriteExclusiveRegistrantsOnly;
const WEAR: ReservationType = ReservationType::WriteExclusiveAllRegistrants;

fn register(key: Key) -> Action {
    Action::Register { claim: Claim::UnregisteredOrNew, key: Some(key) }
}

fn replace(claim: Claim, key: Key) -> Action {
    Action::Register { claim, key: Some(key) }
}

fn unregister(claim: Claim) -> Action {
    Action::Register { claim, key: None }
}

fn preempt(key: Key, victims: Key, kind: ReservationType) -> Action {
    Action::Preempt(Preempt { key, victims, kind })
}

/// Three registrants.
fn registered() -> State {
    let mut state = State::default();
    for (who, key) in [(A, KEY_A), (B, KEY_B), (C, KEY_C)] {
        state.apply(who, register(key)).unwrap();
    }
    state
}

/// Three registrants, of which the first has taken a reservation.
fn held(kind: ReservationType) -> State {
    let mut state = registered();
    state.apply(A, Action::Acquire { key: KEY_A, kind }).unwrap();
    state
}

fn holders(state: &State) -> Vec<Identity> {
    state.report().registrants.iter().filter(|one| one.holds).map(|one| one.identity).collect()
}

fn registrants(state: &State) -> Vec<Identity> {
    state.report().registrants.iter().map(|one| one.identity).collect()
}

/// Initiators that were told, each with the same notice.
fn told(outcome: &Outcome, notice: Notice) -> Vec<Identity> {
    assert!(outcome.notifications.iter().all(|one| one.notice == notice), "{:?}", outcome.notifications);
    outcome.notifications.iter().map(|one| one.to).collect()
}

/// Checks that a command is refused, and has changed nothing.
fn refuse(state: &State, who: Identity, action: Action, expected: Refused) {
    let mut tried = state.clone();
    assert_eq!(tried.apply(who, action), Err(expected), "{action:?}");
    assert_eq!(tried, *state, "{action:?} was refused and changed something");
}

#[test]
fn a_registrant_may_register_its_key_again_and_no_other_one() {
    let mut state = registered();
    assert!(state.apply(A, register(KEY_A)).is_ok());
    refuse(&state, A, register(KEY_B), Refused::Conflict);
    refuse(&state, A, replace(Claim::Unregistered, KEY_A), Refused::Conflict);
}

#[test]
fn zero_is_no_key() {
    refuse(&registered(), A, replace(Claim::Unchecked, Key(0)), Refused::ZeroKey);
    refuse(&State::default(), A, register(Key(0)), Refused::ZeroKey);
    refuse(&registered(), A, preempt(KEY_A, Key(0), WE), Refused::ZeroKey);
    refuse(&held(WE), B, preempt(KEY_B, Key(0), WE), Refused::ZeroKey);
}

#[test]
fn a_key_is_replaced_by_who_knows_it_or_ignores_it() {
    let mut state = registered();
    refuse(&state, A, replace(Claim::Key(KEY_B), Key(7)), Refused::Conflict);
    state.apply(A, replace(Claim::Key(KEY_A), Key(7))).unwrap();
    assert_eq!(state.key_of(A), Some(Key(7)));
    state.apply(A, replace(Claim::Unchecked, Key(8))).unwrap();
    assert_eq!(state.key_of(A), Some(Key(8)));
}

#[test]
fn who_is_not_registered_replaces_a_key_only_if_that_is_ignored() {
    let mut state = State::default();
    for claim in [Claim::Key(KEY_A), Claim::Key(Key(0))] {
        refuse(&state, A, replace(claim, KEY_A), Refused::Conflict);
        refuse(&state, A, unregister(claim), Refused::Conflict);
    }
    assert!(state.apply(A, unregister(Claim::Unchecked)).is_ok());
    state.apply(A, replace(Claim::Unchecked, KEY_A)).unwrap();
    assert_eq!(state.key_of(A), Some(KEY_A));
}

#[test]
fn the_registrants_are_bounded_and_those_that_are_there_go_on() {
    let mut state = State::default();
    for host in 1..=u128::try_from(REGISTRANTS_MAX).unwrap() {
        state.apply(Identity::nvme(host), register(KEY_A)).unwrap();
    }
    refuse(&state, Identity::nvme(0xffff), register(KEY_A), Refused::NoRoom);
    assert!(state.apply(A, replace(Claim::Unchecked, KEY_B)).is_ok());
    assert!(state.apply(A, unregister(Claim::Key(KEY_B))).is_ok());
    assert!(state.apply(Identity::nvme(0xffff), register(KEY_A)).is_ok());
}

#[test]
fn nexuses_of_one_host_are_registrants_of_their_own_where_the_protocol_says_so() {
    let mut state = State::default();
    let nexus = |port| Identity { host: 1, scope: Scope::Nexus(port) };
    state.apply(nexus(1), register(KEY_A)).unwrap();
    assert_eq!(state.key_of(nexus(2)), None);
    assert_eq!(state.key_of(A), None);
}

#[test]
fn a_reservation_goes_with_its_holders_registration() {
    for (kind, expected) in [(WE, &[][..]), (WERO, &[B, C]), (WEAR, &[])] {
        let mut state = held(kind);
        let outcome = state.apply(A, unregister(Claim::Key(KEY_A))).unwrap();
        assert_eq!(told(&outcome, Notice::ReservationReleased), expected, "{kind:?}");
        let left = if kind == WEAR { vec![B, C] } else { vec![] };
        assert_eq!(holders(&state), left, "{kind:?}");
    }
}

#[test]
fn a_reservation_of_all_registrants_goes_with_the_last_of_them() {
    let mut state = held(WEAR);
    for (who, key) in [(A, KEY_A), (C, KEY_C)] {
        state.apply(who, unregister(Claim::Key(key))).unwrap();
        assert_eq!(state.report().kind, Some(WEAR));
    }
    let outcome = state.apply(B, unregister(Claim::Key(KEY_B))).unwrap();
    assert_eq!(outcome, Outcome::default());
    assert_eq!(state.report().kind, None);
    state.apply(C, register(KEY_C)).unwrap();
    assert_eq!(holders(&state), []);
}

#[test]
fn a_release_is_of_the_holder_and_of_its_type() {
    for (kind, expected) in [(WE, &[][..]), (WERO, &[B, C]), (WEAR, &[B, C])] {
        let mut state = held(kind);
        refuse(&state, A, Action::Release { key: KEY_B, kind }, Refused::Conflict);
        let other = if kind == WE { WERO } else { WE };
        refuse(&state, A, Action::Release { key: KEY_A, kind: other }, Refused::WrongType);
        let outcome = state.apply(A, Action::Release { key: KEY_A, kind }).unwrap();
        assert_eq!(told(&outcome, Notice::ReservationReleased), expected, "{kind:?}");
        assert_eq!(state.report().kind, None, "{kind:?}");
        assert_eq!(registrants(&state), [A, B, C], "{kind:?}");
    }
}

#[test]
fn a_registrant_that_holds_nothing_releases_nothing_without_an_error() {
    let mut state = held(WE);
    let before = state.clone();
    for kind in [WE, WERO] {
        assert_eq!(state.apply(B, Action::Release { key: KEY_B, kind }), Ok(Outcome::default()));
    }
    assert_eq!(state, before);
    assert!(registered().apply(A, Action::Release { key: KEY_A, kind: WE }).is_ok());
}

#[test]
fn any_registrant_releases_what_all_hold() {
    let mut state = held(WEAR);
    let outcome = state.apply(B, Action::Release { key: KEY_B, kind: WEAR }).unwrap();
    assert_eq!(told(&outcome, Notice::ReservationReleased), [A, C]);
    assert_eq!(state.report().kind, None);
}

#[test]
fn a_clear_by_any_registrant_removes_everything_and_tells_the_others() {
    for mut state in [held(WE), held(WEAR), registered()] {
        refuse(&state, B, Action::Clear { key: KEY_A }, Refused::Conflict);
        let outcome = state.apply(B, Action::Clear { key: KEY_B }).unwrap();
        assert_eq!(told(&outcome, Notice::ReservationPreempted), [A, C]);
        assert_eq!(registrants(&state), []);
        assert_eq!(state.report().kind, None);
    }
}

#[test]
fn a_preemption_of_the_holder_takes_the_reservation_over() {
    let mut state = held(WERO);
    let outcome = state.apply(B, preempt(KEY_B, KEY_A, WERO)).unwrap();
    assert_eq!(told(&outcome, Notice::RegistrationPreempted), [A]);
    assert_eq!(holders(&state), [B]);
    assert_eq!(registrants(&state), [B, C]);
}

#[test]
fn registrants_that_stay_are_told_of_another_type() {
    let mut state = held(WERO);
    let outcome = state.apply(B, preempt(KEY_B, KEY_A, WE)).unwrap();
    let notices: Vec<_> = outcome.notifications.iter().map(|one| (one.to, one.notice)).collect();
    assert_eq!(notices, [(A, Notice::RegistrationPreempted), (C, Notice::ReservationReleased)]);
    assert_eq!(state.report().kind, Some(WE));
}

#[test]
fn a_preemption_of_another_key_leaves_the_reservation() {
    for kind in [WE, WERO, WEAR] {
        let mut state = held(kind);
        let outcome = state.apply(B, preempt(KEY_B, KEY_C, WERO)).unwrap();
        assert_eq!(told(&outcome, Notice::RegistrationPreempted), [C], "{kind:?}");
        assert_eq!(state.report().kind, Some(kind));
        assert_eq!(registrants(&state), [A, B], "{kind:?}");
    }
}

#[test]
fn without_a_reservation_a_preemption_takes_none() {
    let mut state = registered();
    state.apply(B, preempt(KEY_B, KEY_A, WERO)).unwrap();
    assert_eq!(registrants(&state), [B, C]);
    assert_eq!(state.report().kind, None);
}

#[test]
fn a_preemption_needs_the_own_key_and_a_victim() {
    for state in [registered(), held(WE), held(WEAR)] {
        refuse(&state, B, preempt(KEY_A, KEY_A, WE), Refused::Conflict);
        refuse(&state, B, preempt(KEY_B, Key(0xdead), WE), Refused::Conflict);
        refuse(&state, Identity::nvme(9), preempt(KEY_B, KEY_A, WE), Refused::Conflict);
    }
}

#[test]
fn a_preemption_of_zero_takes_over_what_all_hold() {
    let mut state = held(WEAR);
    let outcome = state.apply(B, preempt(KEY_B, Key(0), WE)).unwrap();
    assert_eq!(told(&outcome, Notice::RegistrationPreempted), [A, C]);
    assert_eq!(holders(&state), [B]);
    assert_eq!(state.report().kind, Some(WE));
}

#[test]
fn a_holder_preempts_itself_to_change_the_type_and_stays_registered() {
    let mut state = held(WERO);
    let outcome = state.apply(A, preempt(KEY_A, KEY_A, WE)).unwrap();
    assert_eq!(told(&outcome, Notice::ReservationReleased), [B, C]);
    assert_eq!(holders(&state), [A]);
    assert_eq!(registrants(&state), [A, B, C]);
}

#[test]
fn all_with_the_victims_key_go_and_one_that_shares_it_takes_over() {
    let mut state = registered();
    state.apply(B, replace(Claim::Unchecked, KEY_A)).unwrap();
    state.apply(C, replace(Claim::Unchecked, KEY_A)).unwrap();
    state.apply(A, Action::Acquire { key: KEY_A, kind: WE }).unwrap();
    let outcome = state.apply(B, preempt(KEY_A, KEY_A, WE)).unwrap();
    assert_eq!(told(&outcome, Notice::RegistrationPreempted), [A, C]);
    assert_eq!(holders(&state), [B]);
}

#[test]
fn who_preempts_its_own_registration_without_a_reservation_loses_it_untold() {
    let mut state = registered();
    state.apply(B, replace(Claim::Unchecked, KEY_A)).unwrap();
    let outcome = state.apply(A, preempt(KEY_A, KEY_A, WE)).unwrap();
    assert_eq!(told(&outcome, Notice::RegistrationPreempted), [B]);
    assert_eq!(registrants(&state), [C]);
}

#[test]
fn what_all_hold_goes_when_a_preemption_removes_all() {
    let mut state = State::default();
    state.apply(A, register(KEY_A)).unwrap();
    state.apply(A, Action::Acquire { key: KEY_A, kind: WEAR }).unwrap();
    state.apply(A, preempt(KEY_A, KEY_A, WE)).unwrap();
    assert_eq!(state.report().kind, None);
}

#[test]
fn only_a_preemption_that_aborts_waits_for_its_victims() {
    let order = Preempt { key: KEY_B, victims: KEY_A, kind: WE };
    assert_eq!(held(WE).apply(B, Action::Preempt(order)).unwrap().aborted, []);
    assert_eq!(held(WE).apply(B, Action::PreemptAndAbort(order)).unwrap().aborted, [A]);
    let all = Preempt { victims: Key(0), ..order };
    assert_eq!(held(WEAR).apply(B, Action::PreemptAndAbort(all)).unwrap().aborted, [A, C]);
}

#[test]
fn registrations_preemptions_and_clears_count_and_nothing_else() {
    let counts = |action: Action, counted: bool| {
        let mut state = held(WE);
        let before = state.report().generation;
        state.apply(A, action).unwrap();
        assert_eq!(state.report().generation - before, u32::from(counted), "{action:?}");
    };
    counts(register(KEY_A), true);
    counts(unregister(Claim::Key(KEY_A)), true);
    counts(replace(Claim::Key(KEY_A), KEY_B), true);
    counts(preempt(KEY_A, KEY_B, WE), true);
    counts(Action::Clear { key: KEY_A }, true);
    counts(Action::Move { key: KEY_A, to: B, new: KEY_B, own: Own::Stays }, true);
    counts(Action::Acquire { key: KEY_A, kind: WE }, false);
    counts(Action::Release { key: KEY_A, kind: WE }, false);
}

#[test]
fn a_holder_moves_its_reservation_to_another_nexus() {
    let stranger = Identity::nvme(9);
    for (to, own, left) in [
        (B, Own::Stays, vec![A, B, C]),
        (B, Own::Goes, vec![B, C]),
        (stranger, Own::Goes, vec![B, C, stranger]),
    ] {
        let mut state = held(WE);
        state.apply(A, Action::Move { key: KEY_A, to, new: Key(5), own }).unwrap();
        assert_eq!(holders(&state), [to], "{own:?}");
        assert_eq!(state.key_of(to), Some(Key(5)), "{own:?}");
        assert_eq!(registrants(&state), left, "{own:?}");
    }
}

#[test]
fn what_is_not_the_initiators_own_reservation_is_not_moved() {
    let to = |to, new| Action::Move { key: KEY_A, to, new, own: Own::Stays };
    refuse(&held(WE), A, to(A, KEY_A), Refused::CannotMove);
    refuse(&held(WEAR), A, to(B, KEY_B), Refused::CannotMove);
    refuse(&held(WE), A, to(B, Key(0)), Refused::ZeroKey);
    refuse(&registered(), A, to(B, KEY_B), Refused::Conflict);
    let of_b = Action::Move { key: KEY_B, to: C, new: KEY_C, own: Own::Stays };
    refuse(&held(WE), B, of_b, Refused::Conflict);
}

//! Reservations of SPC-2 on a state: who may hold it, and what they exclude.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_reservations::{Action, Claim, Identity, Key, Refused, Report, ReservationType, Rights, State};

const A: Identity = Identity::nvme(0xa);
const B: Identity = Identity::nvme(0xb);
const KEY: Key = Key(1);
const REGISTER: Action = Action::Register { claim: Claim::Unregistered, key: Some(KEY) };

fn acquire(kind: ReservationType) -> Action {
    Action::Acquire { key: KEY, kind }
}

#[test]
fn a_hold_takes_all_rights_from_others_until_it_ends() {
    let mut state = State::default();
    state.apply(A, Action::Hold).unwrap();
    assert_eq!(state.rights(Some(A)), Rights::ReadWrite);
    assert_eq!(state.rights(Some(B)), Rights::None);
    assert_eq!(state.rights(None), Rights::None);
    assert_eq!(state.apply(B, Action::Hold), Err(Refused::Conflict));
    state.apply(A, Action::Hold).unwrap();
    state.apply(B, Action::Unhold).unwrap();
    assert_eq!(state.sole_user(), Some(A), "another's release changes nothing");
    state.apply(A, Action::Unhold).unwrap();
    assert_eq!(state.rights(Some(B)), Rights::ReadWrite);
}

#[test]
fn a_reset_ends_a_hold_whose_ever_it_is() {
    let mut state = State::default();
    state.apply(A, Action::Hold).unwrap();
    state.apply(B, Action::DropHold).unwrap();
    assert_eq!(state.sole_user(), None);
}

#[test]
fn nobody_registers_while_there_is_a_hold() {
    let mut state = State::default();
    state.apply(A, Action::Hold).unwrap();
    assert_eq!(state.apply(A, REGISTER), Err(Refused::Conflict));
    assert_eq!(state.apply(B, REGISTER), Err(Refused::Conflict));
    assert_eq!(state.report(), Report::default());
}

#[test]
fn while_somebody_is_registered_a_hold_is_a_conflict_but_for_those_with_the_rights_of_a_holder() {
    let mut state = State::default();
    state.apply(A, REGISTER).unwrap();
    assert_eq!(state.apply(A, Action::Hold), Err(Refused::Conflict), "registered, and holds nothing");
    assert_eq!(state.apply(A, Action::Unhold), Err(Refused::Conflict));
    state.apply(A, acquire(ReservationType::WriteExclusive)).unwrap();
    state.apply(B, REGISTER).unwrap();
    state.apply(A, Action::Hold).unwrap();
    state.apply(A, Action::Unhold).unwrap();
    assert_eq!(state.apply(B, Action::Hold), Err(Refused::Conflict), "a registrant that it does not serve");
    let kind = ReservationType::WriteExclusive;
    state.apply(A, Action::Release { key: KEY, kind }).unwrap();
    state.apply(A, acquire(ReservationType::WriteExclusiveRegistrantsOnly)).unwrap();
    state.apply(B, Action::Hold).unwrap();
    assert_eq!(state.sole_user(), None, "nothing is established");
}

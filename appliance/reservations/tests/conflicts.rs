//! The type x command table of the standards, line by line.
//!
//! NVMe Base 2.0, figures 400 ("Command Behavior in the Presence of a Reservation") and 402; SPC-4, tables 49 and 50,
//! say the same of commands that read and write.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_reservations::{Action, Claim, Identity, Key, Preempt, Refused, ReservationType, Rights, State};

const HOLDER: Identity = Identity::nvme(1);
const REGISTRANT: Identity = Identity::nvme(2);
const STRANGER: Identity = Identity::nvme(3);

/// Key of an initiator; the stranger uses one as well.
fn key(who: Identity) -> Key {
    Key(0xa0 + u64::try_from(who.host).unwrap())
}

fn register(who: Identity) -> Action {
    Action::Register { claim: Claim::UnregisteredOrNew, key: Some(key(who)) }
}

/// A volume that the holder has reserved, with another registrant.
fn reserved(kind: ReservationType) -> State {
    let mut state = State::default();
    state.apply(HOLDER, register(HOLDER)).unwrap();
    state.apply(REGISTRANT, register(REGISTRANT)).unwrap();
    state.apply(HOLDER, Action::Acquire { key: key(HOLDER), kind }).unwrap();
    state
}

/// Figure 400: type; read and write of holder, registrant and non-registrant.
const ACCESS: [(ReservationType, &str); 6] = [
    (ReservationType::WriteExclusive, "YY YN YN"),
    (ReservationType::ExclusiveAccess, "YY NN NN"),
    (ReservationType::WriteExclusiveRegistrantsOnly, "YY YY YN"),
    (ReservationType::ExclusiveAccessRegistrantsOnly, "YY YY NN"),
    (ReservationType::WriteExclusiveAllRegistrants, "YY YY YN"),
    (ReservationType::ExclusiveAccessAllRegistrants, "YY YY NN"),
];

fn written(rights: Rights) -> &'static str {
    match rights {
        Rights::None => "NN",
        Rights::Read => "YN",
        Rights::ReadWrite => "YY",
    }
}

#[test]
fn each_type_gives_each_role_the_access_that_the_standard_says() {
    for (kind, line) in ACCESS {
        let state = reserved(kind);
        let roles = [HOLDER, REGISTRANT, STRANGER].map(|who| written(state.rights(Some(who))));
        assert_eq!(roles.join(" "), line, "{kind:?}");
        assert_eq!(state.rights(None), state.rights(Some(STRANGER)), "{kind:?}, without an identity");
    }
}

#[test]
fn without_a_reservation_everybody_reads_and_writes() {
    let mut state = State::default();
    state.apply(REGISTRANT, register(REGISTRANT)).unwrap();
    for who in [None, Some(REGISTRANT), Some(STRANGER)] {
        assert_eq!(state.rights(who), Rights::ReadWrite, "{who:?}");
    }
}

/// Figure 402, the reservation commands: allowed (A) or conflict (C) for a non-registrant and a registrant, which are
/// equal for all types. A registrant that holds a reservation of all registrants is a holder of it, and no "registrant" of
/// the figure.
const COMMANDS: [(&str, &str); 6] = [
    ("acquire", "CC"),
    ("preempt", "CA"),
    ("preempt and abort", "CA"),
    ("release", "CA"),
    ("clear", "CA"),
    ("register", "AA"),
];

fn command(name: &str, who: Identity, kind: ReservationType) -> Action {
    let preempt = Preempt { key: key(who), victims: key(REGISTRANT), kind };
    let key = key(who);
    match name {
        "acquire" => Action::Acquire { key, kind },
        "preempt" => Action::Preempt(preempt),
        "preempt and abort" => Action::PreemptAndAbort(preempt),
        "release" => Action::Release { key, kind },
        "clear" => Action::Clear { key },
        _ => register(who),
    }
}

#[test]
fn each_command_is_allowed_or_a_conflict_as_the_standard_says() {
    for kind in ReservationType::ALL {
        for (name, line) in COMMANDS {
            let result = |who| match reserved(kind).apply(who, command(name, who, kind)) {
                Ok(_) => 'A',
                Err(Refused::Conflict) => 'C',
                Err(other) => panic!("{name} with {kind:?}: {other}"),
            };
            let is_holder = kind.is_of_all_registrants() && name == "acquire";
            let expected = if is_holder { "CA" } else { line };
            let results = String::from_iter([result(STRANGER), result(REGISTRANT)]);
            assert_eq!(results, expected, "{name} with {kind:?}");
        }
    }
}

#[test]
fn a_holder_acquires_again_with_the_same_type_only() {
    for held in ReservationType::ALL {
        for kind in ReservationType::ALL {
            let result = reserved(held).apply(HOLDER, Action::Acquire { key: key(HOLDER), kind });
            let expected = if held == kind { Ok(()) } else { Err(Refused::Conflict) };
            assert_eq!(result.map(|_| ()), expected, "{kind:?} while {held:?} is held");
        }
    }
}

//! Random commands, compared with a model that says the rules in another way.
//!
//! The model keeps for each initiator its key and whether it holds, as a person would on paper.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_reservations::{
    Action, Claim, Identity, Key, Outcome, Preempt, Refused, ReservationType, Rights, State,
};
use luge_seeded::{Random, fuzz};

const HOSTS: usize = 5;

#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Host {
    key: Option<u64>,
    holds: bool,
}

#[derive(Clone, Default, Debug)]
struct Paper {
    hosts: [Host; HOSTS],
    kind: Option<ReservationType>,
    /// The one who holds the volume for itself alone.
    alone: Option<usize>,
}

fn identity(host: usize) -> Identity {
    Identity::nvme(u128::try_from(host).unwrap() + 100)
}

impl Paper {
    fn has_registrants(&self) -> bool {
        self.hosts.iter().any(|host| host.key.is_some())
    }

    /// Whether there is a reservation, and it leaves a registered host all rights.
    fn is_like_holder(&self, host: usize) -> bool {
        let is_registered = self.hosts[host].key.is_some();
        is_registered && self.kind.is_some() && self.rights(host) == Rights::ReadWrite
    }

    /// Removes a registration, and the reservation that nobody holds any more.
    fn strike(&mut self, host: usize) {
        self.hosts[host] = Host::default();
        if self.hosts.iter().all(|host| !host.holds) {
            self.kind = None;
        }
    }

    fn give(&mut self, host: usize, kind: ReservationType) {
        self.kind = Some(kind);
        for (at, one) in self.hosts.iter_mut().enumerate() {
            one.holds = at == host || kind.is_of_all_registrants() && one.key.is_some();
        }
    }

    fn free(&mut self) {
        self.kind = None;
        self.hosts.iter_mut().for_each(|host| host.holds = false);
    }

    /// Does a command; returns those whose requests are aborted.
    fn apply(&mut self, host: usize, action: Action) -> Result<Vec<usize>, ()> {
        let own = self.hosts[host];
        let knows = |key: Key| if own.key == Some(key.0) { Ok(()) } else { Err(()) };
        if self.alone.is_some() && !matches!(action, Action::Hold | Action::Unhold | Action::DropHold) {
            return Err(());
        }
        match action {
            Action::Hold if self.is_like_holder(host) => {}
            Action::Hold if self.has_registrants() || self.alone.is_some_and(|other| other != host) => {
                return Err(());
            }
            Action::Hold => self.alone = Some(host),
            Action::Unhold if self.has_registrants() && !self.is_like_holder(host) => return Err(()),
            Action::Unhold if self.alone == Some(host) => self.alone = None,
            Action::Unhold => {}
            Action::DropHold => self.alone = None,
            Action::Register { claim, key } => {
                match claim {
                    Claim::Unchecked => {}
                    Claim::Unregistered if own.key.is_some() => return Err(()),
                    Claim::Unregistered => {}
                    Claim::UnregisteredOrNew if own.key.is_some() && own.key != key.map(|key| key.0) => {
                        return Err(());
                    }
                    Claim::UnregisteredOrNew => {}
                    Claim::Key(key) => knows(key)?,
                }
                match key {
                    Some(Key(0)) => return Err(()),
                    Some(Key(key)) => {
                        let joins = self.kind.is_some_and(ReservationType::is_of_all_registrants);
                        self.hosts[host] = Host { key: Some(key), holds: own.holds || joins };
                    }
                    None => self.strike(host),
                }
            }
            Action::Acquire { key, kind } => {
                knows(key)?;
                match self.kind {
                    None => self.give(host, kind),
                    Some(held) if own.holds && held == kind => {}
                    Some(_) => return Err(()),
                }
            }
            Action::Release { key, kind } => {
                knows(key)?;
                if own.holds && self.kind != Some(kind) {
                    return Err(());
                }
                if own.holds {
                    self.free();
                }
            }
            Action::Clear { key } => {
                knows(key)?;
                *self = Self::default();
            }
            Action::Preempt(order) => drop(self.preempt(host, order)?),
            Action::PreemptAndAbort(order) => return self.preempt(host, order),
            Action::Move { .. } => unreachable!("never made here"),
        }
        Ok(Vec::new())
    }

    fn preempt(&mut self, host: usize, order: Preempt) -> Result<Vec<usize>, ()> {
        if self.hosts[host].key != Some(order.key.0) {
            return Err(());
        }
        let all = self.kind.is_some_and(ReservationType::is_of_all_registrants);
        let names_all = order.victims == Key(0);
        let named = |one: &Host| one.key.is_some() && (names_all && all || one.key == Some(order.victims.0));
        let victims: Vec<usize> = (0..HOSTS).filter(|&at| named(&self.hosts[at])).collect();
        if victims.is_empty() {
            return Err(());
        }
        let takes = if all { names_all } else { victims.iter().any(|&at| self.hosts[at].holds) };
        for &at in victims.iter().filter(|&&at| !takes || at != host) {
            self.strike(at);
        }
        if takes {
            self.free();
            self.give(host, order.kind);
        }
        Ok(victims.into_iter().filter(|&at| at != host).collect())
    }

    /// Rights by the words of the types.
    fn rights(&self, host: usize) -> Rights {
        let Host { key, holds } = self.hosts[host];
        if self.alone.is_some_and(|other| other != host) {
            return Rights::None;
        }
        let Some(kind) = self.kind else { return Rights::ReadWrite };
        let name = format!("{kind:?}");
        if holds || key.is_some() && name.contains("Registrants") {
            Rights::ReadWrite
        } else if name.starts_with("Write") {
            Rights::Read
        } else {
            Rights::None
        }
    }
}

fn key(random: &mut Random) -> Key {
    Key(random.below(4))
}

fn action(random: &mut Random) -> Action {
    let kind = random.pick(&ReservationType::ALL);
    let order = Preempt { key: key(random), victims: key(random), kind };
    let claim = match random.below(4_u32) {
        0 => Claim::Unchecked,
        1 => Claim::Unregistered,
        2 => Claim::UnregisteredOrNew,
        _ => Claim::Key(key(random)),
    };
    match random.below(12_u32) {
        10 if random.once_in(2) => Action::Hold,
        10 => Action::DropHold,
        11 => Action::Unhold,
        0..=2 => Action::Register { claim, key: Some(key(random)) },
        3 => Action::Register { claim, key: None },
        4..=5 => Action::Acquire { key: order.key, kind },
        6 => Action::Release { key: order.key, kind },
        7 if random.once_in(3) => Action::Clear { key: order.key },
        7..=8 => Action::Preempt(order),
        _ => Action::PreemptAndAbort(order),
    }
}

/// Checks that state and model say the same.
fn compare(state: &State, paper: &Paper) {
    assert_eq!(state.report().kind, paper.kind);
    for (at, host) in paper.hosts.iter().enumerate() {
        let who = identity(at);
        assert_eq!(state.key_of(who).map(|key| key.0), host.key, "key of host {at}");
        assert_eq!(state.rights(Some(who)), paper.rights(at), "rights of host {at}");
        let holds = state.report().registrants.iter().any(|one| one.identity == who && one.holds);
        assert_eq!(holds, host.holds, "host {at}");
    }
}

/// Checks what others are told: nobody of himself, and of a lost registration who lost it.
fn check_notices(before: &State, after: &State, host: usize, outcome: &Outcome) {
    let who = identity(host);
    assert!(outcome.notifications.iter().all(|one| one.to != who), "{outcome:?}");
    assert!(outcome.notifications.iter().all(|one| before.key_of(one.to).is_some()), "{outcome:?}");
    let lost = |at: &usize| before.key_of(identity(*at)).is_some() && after.key_of(identity(*at)).is_none();
    for at in (0..HOSTS).filter(lost).filter(|&at| at != host) {
        let told = outcome.notifications.iter().filter(|one| one.to == identity(at)).count();
        assert_eq!(told, 1, "host {at} lost its registration");
    }
}

#[test]
fn random_commands_do_what_the_model_does() {
    fuzz(|random| {
        let (mut state, mut paper) = (State::default(), Paper::default());
        for _ in 0..200 {
            let (host, action) = (random.below(HOSTS), action(random));
            let before = state.clone();
            let (result, expected) = (state.apply(identity(host), action), paper.apply(host, action));
            assert_eq!(result.is_ok(), expected.is_ok(), "{action:?} of host {host}: {result:?}");
            match result {
                Ok(outcome) => {
                    let aborted: Vec<_> = expected.unwrap().into_iter().map(identity).collect();
                    assert_eq!(outcome.aborted.len(), aborted.len());
                    assert!(aborted.iter().all(|one| outcome.aborted.contains(one)), "{outcome:?}");
                    check_notices(&before, &state, host, &outcome);
                }
                Err(Refused::NoRoom | Refused::NoIdentity | Refused::CannotMove) => {
                    panic!("refused for a reason that is not there");
                }
                Err(_) => assert_eq!(state, before, "refused, and something changed"),
            }
            compare(&state, &paper);
        }
    });
}

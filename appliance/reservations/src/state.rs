//! The state machine of persistent reservations.
//!
//! ```text
//!  (1) free --acquire, by a registrant-->                            (2) held by one, or by all registrants
//!  (2) held --acquire, same type, by a holder-->                     (2)
//!  (2) held --preempt of the holder's key; of all, where all hold--> (2), with the type and holder of the preemption
//!  (2) held --release, by a holder; the holder or the last unregisters; clear--> (1)
//!  (1) free --hold, while nobody is registered-->                   (3) held for one alone, who is not registered
//!  (3) held for one alone --unhold, by that one; drop of the hold--> (1)
//! ```
//!
//! Registrants come and go in (1) and (2). All that is refused changes nothing.

use crate::action::{Action, Claim, Key, Notice, Outcome, Own, Preempt, Refused};
use crate::report::{RegistrantReport, Report};
use crate::reservation::{ReservationType, Role};
use crate::{Identity, Rights};

/// The most registrants of a volume.
pub const REGISTRANTS_MAX: usize = 128;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Registrant {
    identity: Identity,
    key: Key,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reservation {
    kind: ReservationType,
    /// The one who took it. The only holder, where not all registrants are.
    taker: Identity,
}

/// Registrants and reservation of a volume.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The oldest first.
    registrants: Vec<Registrant>,
    reservation: Option<Reservation>,
    generation: u32,
    /// The one who holds the volume for itself alone. Nobody is registered then.
    sole_user: Option<Identity>,
}

impl State {
    /// Does a command of `who`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn apply(&mut self, who: Identity, action: Action) -> Result<Outcome, Refused> {
        match action {
            Action::Hold => self.hold(who),
            Action::Unhold => self.unhold(who),
            Action::DropHold => {
                self.sole_user = None;
                Ok(Outcome::default())
            }
            _ if self.sole_user.is_some() => Err(Refused::Conflict),
            Action::Register { claim, key } => self.register(who, claim, key),
            Action::Acquire { key, kind } => self.acquire(who, key, kind),
            Action::Preempt(preempt) => {
                let outcome = self.preempt(who, preempt)?;
                Ok(Outcome { aborted: Vec::new(), ..outcome })
            }
            Action::PreemptAndAbort(preempt) => self.preempt(who, preempt),
            Action::Release { key, kind } => self.release(who, key, kind),
            Action::Clear { key } => self.clear(who, key),
            Action::Move { key, to, new, own } => {
                self.check_key(who, key)?;
                self.check_move(who, to, new)?;
                self.move_to(who, Registrant { identity: to, key: new }, own)
            }
        }
    }

    /// Rights of an initiator; of one that has not said who it is, without an identity.
    #[must_use]
    pub fn rights(&self, who: Option<Identity>) -> Rights {
        match self.reservation {
            Some(reservation) => reservation.kind.rights(self.role(who, reservation)),
            None if self.sole_user.is_some() && self.sole_user != who => Rights::None,
            None => Rights::ReadWrite,
        }
    }

    /// The one who holds the volume for itself alone.
    #[must_use]
    pub const fn sole_user(&self) -> Option<Identity> {
        self.sole_user
    }

    /// The key of a registrant.
    #[must_use]
    pub fn key_of(&self, who: Identity) -> Option<Key> {
        self.registrants.iter().find(|registrant| registrant.identity == who).map(|found| found.key)
    }

    /// Registrants and reservation, without ports.
    #[must_use]
    pub fn report(&self) -> Report {
        let describe = |&Registrant { identity, key }: &Registrant| RegistrantReport {
            identity,
            key,
            holds: self.holds(identity),
            ports: Vec::new(),
        };
        Report {
            generation: self.generation,
            kind: self.reservation.map(|reservation| reservation.kind),
            registrants: self.registrants.iter().map(describe).collect(),
        }
    }

    fn role(&self, who: Option<Identity>, reservation: Reservation) -> Role {
        match who {
            Some(who) if self.key_of(who).is_some() => {
                let holds = reservation.kind.is_of_all_registrants() || reservation.taker == who;
                if holds { Role::Holder } else { Role::Registrant }
            }
            _ => Role::Stranger,
        }
    }

    fn holds(&self, who: Identity) -> bool {
        self.reservation.is_some_and(|reservation| self.role(Some(who), reservation) == Role::Holder)
    }

    /// Checks that `who` is registered with `key`.
    fn check_key(&self, who: Identity, key: Key) -> Result<(), Refused> {
        if self.key_of(who) == Some(key) { Ok(()) } else { Err(Refused::Conflict) }
    }

    /// (1) to (3), or (3) again.
    fn hold(&mut self, who: Identity) -> Result<Outcome, Refused> {
        if self.has_holders_rights(who) {
            return Ok(Outcome::default());
        }
        if !self.registrants.is_empty() || self.sole_user.is_some_and(|holder| holder != who) {
            return Err(Refused::Conflict);
        }
        self.sole_user = Some(who);
        Ok(Outcome::default())
    }

    /// (3) to (1). Whoever has no hold has nothing to end, which is no error.
    fn unhold(&mut self, who: Identity) -> Result<Outcome, Refused> {
        if !self.registrants.is_empty() && !self.has_holders_rights(who) {
            return Err(Refused::Conflict);
        }
        self.sole_user.take_if(|holder| *holder == who);
        Ok(Outcome::default())
    }

    /// Whether `who` holds the persistent reservation, or is one of the registrants whom it serves.
    fn has_holders_rights(&self, who: Identity) -> bool {
        self.reservation.is_some_and(|held| match self.role(Some(who), held) {
            Role::Holder => true,
            Role::Registrant => held.kind.serves_registrants(),
            Role::Stranger => false,
        })
    }

    fn count_change(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    fn others(&self, than: Identity) -> impl Iterator<Item = Identity> {
        self.registrants.iter().map(|registrant| registrant.identity).filter(move |&one| one != than)
    }

    fn register(&mut self, who: Identity, claim: Claim, key: Option<Key>) -> Result<Outcome, Refused> {
        let registered = self.key_of(who);
        if !claim.is_true(registered, key) {
            return Err(Refused::Conflict);
        }
        let outcome = match key {
            Some(key) => {
                self.set_key(who, key)?;
                Outcome::default()
            }
            None => self.unregister(who),
        };
        self.count_change();
        Ok(outcome)
    }

    fn set_key(&mut self, who: Identity, key: Key) -> Result<(), Refused> {
        if key == Key(0) {
            return Err(Refused::ZeroKey);
        }
        let has_room = self.registrants.len() < REGISTRANTS_MAX;
        match self.registrants.iter_mut().find(|registrant| registrant.identity == who) {
            Some(registrant) => registrant.key = key,
            None if has_room => self.registrants.push(Registrant { identity: who, key }),
            None => return Err(Refused::NoRoom),
        }
        Ok(())
    }

    /// (2) to (1), if the reservation goes with its holder.
    fn unregister(&mut self, who: Identity) -> Outcome {
        let mut outcome = Outcome::default();
        let held = self.holds(who);
        self.registrants.retain(|registrant| registrant.identity != who);
        if let Some(Reservation { kind, .. }) = self.reservation
            && held
            && (!kind.is_of_all_registrants() || self.registrants.is_empty())
        {
            self.reservation = None;
            if kind.serves_registrants() {
                outcome.notify(Notice::ReservationReleased, self.others(who));
            }
        }
        outcome
    }

    /// (1) to (2), or (2) again.
    fn acquire(&mut self, who: Identity, key: Key, kind: ReservationType) -> Result<Outcome, Refused> {
        self.check_key(who, key)?;
        match self.reservation {
            None => self.reservation = Some(Reservation { kind, taker: who }),
            Some(held) if held.kind == kind && self.holds(who) => {}
            Some(_) => return Err(Refused::Conflict),
        }
        Ok(Outcome::default())
    }

    /// (2) to (1). A registrant that holds nothing has nothing to release, which is no error.
    fn release(&mut self, who: Identity, key: Key, kind: ReservationType) -> Result<Outcome, Refused> {
        self.check_key(who, key)?;
        let mut outcome = Outcome::default();
        let Some(held) = self.reservation.filter(|_| self.holds(who)) else { return Ok(outcome) };
        if held.kind != kind {
            return Err(Refused::WrongType);
        }
        self.reservation = None;
        if kind.serves_registrants() {
            outcome.notify(Notice::ReservationReleased, self.others(who));
        }
        Ok(outcome)
    }

    /// (2) to (1), and nobody is registered.
    fn clear(&mut self, who: Identity, key: Key) -> Result<Outcome, Refused> {
        self.check_key(who, key)?;
        let mut outcome = Outcome::default();
        outcome.notify(Notice::ReservationPreempted, self.others(who));
        self.registrants.clear();
        self.reservation = None;
        self.count_change();
        Ok(outcome)
    }

    fn preempt(&mut self, who: Identity, preempt: Preempt) -> Result<Outcome, Refused> {
        let Preempt { key, victims, kind } = preempt;
        self.check_key(who, key)?;
        let outcome = match self.reservation {
            Some(held) if self.is_preempted(held, victims) => {
                self.take_over(who, victims, Reservation { kind, taker: who })
            }
            _ => self.remove_registrations(who, victims)?,
        };
        self.count_change();
        Ok(outcome)
    }

    /// Whether a preemption of that key is one of the reservation, and not only of registrations.
    fn is_preempted(&self, held: Reservation, victims: Key) -> bool {
        if held.kind.is_of_all_registrants() {
            victims == Key(0)
        } else {
            self.key_of(held.taker) == Some(victims)
        }
    }

    /// (2) again: the reservation has another holder. `who` stays registered, though its key be the victims'.
    fn take_over(&mut self, who: Identity, victims: Key, new: Reservation) -> Outcome {
        let goes = |one: &Registrant| one.identity != who && (victims == Key(0) || one.key == victims);
        let mut outcome = self.remove(who, goes);
        let old = self.reservation.replace(new);
        if old.is_some_and(|old| old.kind != new.kind) {
            outcome.notify(Notice::ReservationReleased, self.others(who));
        }
        outcome
    }

    /// Removes registrations with a key, the own one included. A single holder has another key.
    fn remove_registrations(&mut self, who: Identity, victims: Key) -> Result<Outcome, Refused> {
        if victims == Key(0) {
            return Err(Refused::ZeroKey);
        }
        if !self.registrants.iter().any(|registrant| registrant.key == victims) {
            return Err(Refused::Conflict);
        }
        let outcome = self.remove(who, |registrant| registrant.key == victims);
        if self.registrants.is_empty() {
            self.reservation = None;
        }
        Ok(outcome)
    }

    /// Removes the registrations that `goes` picks; those of others than `who` are victims.
    fn remove(&mut self, who: Identity, goes: impl Fn(&Registrant) -> bool) -> Outcome {
        let mut outcome = Outcome::default();
        for registrant in self.registrants.extract_if(.., |registrant| goes(registrant)) {
            if registrant.identity != who {
                outcome.aborted.push(registrant.identity);
            }
        }
        let victims = outcome.aborted.clone();
        outcome.notify(Notice::RegistrationPreempted, victims.into_iter());
        outcome
    }

    /// Checks that `who` is the only holder, and `to` another one.
    fn check_move(&self, who: Identity, to: Identity, new: Key) -> Result<(), Refused> {
        if !self.holds(who) {
            return Err(Refused::Conflict);
        }
        if new == Key(0) {
            return Err(Refused::ZeroKey);
        }
        let of_all = self.reservation.is_some_and(|held| held.kind.is_of_all_registrants());
        if of_all || to == who { Err(Refused::CannotMove) } else { Ok(()) }
    }

    /// (2) again: gives the reservation of `who` to another one.
    fn move_to(&mut self, who: Identity, new: Registrant, own: Own) -> Result<Outcome, Refused> {
        let leaves = own == Own::Goes;
        if leaves && self.key_of(new.identity).is_none() {
            // Its place is the new holder's.
            self.registrants.retain(|registrant| registrant.identity != who);
        }
        self.set_key(new.identity, new.key)?;
        if leaves {
            self.registrants.retain(|registrant| registrant.identity != who);
        }
        if let Some(held) = self.reservation.as_mut() {
            held.taker = new.identity;
        }
        self.count_change();
        Ok(Outcome::default())
    }
}

impl Claim {
    /// Whether it is true of one that is registered with `registered`, and is to have the key `new`.
    fn is_true(self, registered: Option<Key>, new: Option<Key>) -> bool {
        match self {
            Self::Unchecked => true,
            Self::Unregistered => registered.is_none(),
            Self::UnregisteredOrNew => registered.is_none() || registered == new,
            Self::Key(key) => registered == Some(key),
        }
    }
}

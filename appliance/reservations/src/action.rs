//! Commands to the state, and their outcomes.

use crate::{Identity, ReservationType};
use thiserror::Error;

/// Key of a registration. Zero is none that can be registered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct Key(pub u64);

/// Condition on the key that an initiator has registered when it registers another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// None: the key, and whether there is one, does not matter.
    Unchecked,
    /// No registration.
    Unregistered,
    /// No registration, or one with the new key.
    UnregisteredOrNew,
    /// A registration with this key.
    Key(Key),
}

/// Key and type of a preemption.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Preempt {
    /// Key of the initiator itself.
    pub key: Key,
    /// Key of the registrations to be removed. Zero is all, where all registrants hold the reservation.
    pub victims: Key,
    /// Type of the new reservation, where the victims hold one.
    pub kind: ReservationType,
}

/// Command of an initiator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Registers, changes or removes the initiator's key: NVMe Reservation Register, SCSI REGISTER and REGISTER AND
    /// IGNORE EXISTING KEY.
    Register {
        /// Condition on the key that is registered.
        claim: Claim,
        /// New key; none removes the registration.
        key: Option<Key>,
    },
    /// Takes a reservation: NVMe Acquire, SCSI RESERVE.
    Acquire {
        /// Key of the initiator.
        key: Key,
        /// Type of the reservation.
        kind: ReservationType,
    },
    /// Removes registrations of others, and takes over their reservation.
    Preempt(Preempt),
    /// Preempts, and is over only when the victims' requests have ended.
    PreemptAndAbort(Preempt),
    /// Gives the reservation up.
    Release {
        /// Key of the initiator.
        key: Key,
        /// Type of the reservation, which must be right.
        kind: ReservationType,
    },
    /// Removes the reservation and all registrations.
    Clear {
        /// Key of the initiator.
        key: Key,
    },
    /// Gives the reservation to another initiator and registers that: SCSI REGISTER AND MOVE.
    Move {
        /// Key of the initiator.
        key: Key,
        /// The new holder.
        to: Identity,
        /// Key of the new holder.
        new: Key,
        /// Fate of the initiator's own registration.
        own: Own,
    },
    /// Takes the volume for the initiator alone, where nobody is registered: SCSI RESERVE (6) and (10). Does nothing
    /// where the initiator has the rights of a holder (SPC-4, clause 5.13.3).
    Hold,
    /// Ends the initiator's hold, if it has one: SCSI RELEASE (6) and (10).
    Unhold,
    /// Ends the hold, whose ever it is: a reset of the logical unit.
    DropHold,
}

/// Fate of a registration whose reservation is moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Own {
    /// The registration stays.
    Stays,
    /// The registration is removed.
    Goes,
}

/// Reason why a command was refused. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Refused {
    /// Another one holds the reservation, or a key is not what is registered.
    #[error("reservation conflict")]
    Conflict,
    /// There are as many registrants as can be.
    #[error("there are as many registrants as can be")]
    NoRoom,
    /// A key of zero where that is none.
    #[error("zero is no key")]
    ZeroKey,
    /// The type is not that of the reservation.
    #[error("the reservation is of another type")]
    WrongType,
    /// The reservation is one that cannot be moved, or is to be moved to its holder.
    #[error("the reservation cannot be moved")]
    CannotMove,
    /// The initiator has not said who it is.
    #[error("the initiator has no identity")]
    NoIdentity,
}

/// Message to an initiator whose registration or reservation others have changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Notice {
    /// The addressee's registration was removed by a preemption.
    RegistrationPreempted,
    /// A reservation that gave it rights was released, or has another type now.
    ReservationReleased,
    /// The addressee's registration, and the reservation if there was one, was cleared.
    ReservationPreempted,
}

/// A notice, and its addressee.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notification {
    /// Addressee.
    pub to: Identity,
    /// Notice.
    pub notice: Notice,
}

/// Outcome of a command that was done, for others than the initiator.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Notices.
    pub notifications: Vec<Notification>,
    /// Initiators whose requests must have ended before the command has.
    pub aborted: Vec<Identity>,
}

impl Outcome {
    /// Adds a notice to each of `to`.
    pub(crate) fn notify(&mut self, notice: Notice, to: impl Iterator<Item = Identity>) {
        self.notifications.extend(to.map(|to| Notification { to, notice }));
    }
}

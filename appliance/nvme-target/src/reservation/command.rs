//! Reservation commands, parsed.

use crate::commands::CommandStatus;
use luge_reservations::{Action, Claim, Key, Preempt, ReservationType};
use luge_spec::nvme::{IoOpcode, ReservationKeys, StatusCode, reservation_command as field};

const INVALID: CommandStatus = CommandStatus::refused(StatusCode::INVALID_FIELD);

/// A command that changes reservations, but for its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Registers a key, where none or the same is registered.
    Register,
    /// Removes the registration.
    Unregister(KeyCheck),
    /// Replaces the key.
    Replace(KeyCheck),
    /// Acquires the reservation.
    Acquire(ReservationType),
    /// Preempts.
    Preempt(ReservationType),
    /// Preempts, and waits for the commands of the preempted hosts.
    PreemptAndAbort(ReservationType),
    /// Releases the reservation.
    Release(ReservationType),
    /// Clears everything.
    Clear,
}

/// Whether the current key is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KeyCheck {
    /// The key must be right.
    Checked,
    /// Any key will do.
    Ignored,
}

impl KeyCheck {
    const fn of(cdw10: u32) -> Self {
        if cdw10 & field::IGNORE_KEY == 0 { Self::Checked } else { Self::Ignored }
    }

    const fn claim(self, current: u64) -> Claim {
        match self {
            Self::Checked => Claim::Key(Key(current)),
            Self::Ignored => Claim::Unchecked,
        }
    }
}

impl Order {
    /// Reads CDW10 of a command.
    ///
    /// # Errors
    /// The status of the command.
    pub(super) fn parse(opcode: IoOpcode, cdw10: u32) -> Result<Self, CommandStatus> {
        match opcode {
            IoOpcode::RESERVATION_REGISTER => Self::register(cdw10),
            IoOpcode::RESERVATION_ACQUIRE => Self::acquire(cdw10),
            IoOpcode::RESERVATION_RELEASE => Self::release(cdw10),
            _ => Err(CommandStatus::refused(StatusCode::INVALID_OPCODE)),
        }
    }

    fn register(cdw10: u32) -> Result<Self, CommandStatus> {
        // Persistence through a loss of power is not supported (RESCAP).
        if !matches!(cdw10 >> 30, field::PERSISTENCE_UNCHANGED | field::PERSISTENCE_OFF) {
            return Err(INVALID);
        }
        let check = KeyCheck::of(cdw10);
        match cdw10 & 7 {
            field::REGISTER => Ok(Self::Register),
            field::UNREGISTER => Ok(Self::Unregister(check)),
            field::REPLACE => Ok(Self::Replace(check)),
            _ => Err(INVALID),
        }
    }

    fn acquire(cdw10: u32) -> Result<Self, CommandStatus> {
        let kind = kind(cdw10)?;
        match cdw10 & (7 | field::IGNORE_KEY) {
            field::ACQUIRE => Ok(Self::Acquire(kind)),
            field::PREEMPT => Ok(Self::Preempt(kind)),
            field::PREEMPT_AND_ABORT => Ok(Self::PreemptAndAbort(kind)),
            _ => Err(INVALID),
        }
    }

    fn release(cdw10: u32) -> Result<Self, CommandStatus> {
        match cdw10 & (7 | field::IGNORE_KEY) {
            field::RELEASE => kind(cdw10).map(Self::Release),
            field::CLEAR => Ok(Self::Clear),
            _ => Err(INVALID),
        }
    }

    /// The command with its keys.
    pub(super) fn with(self, keys: ReservationKeys) -> Action {
        let ReservationKeys { current, other } = keys;
        let key = Key(current);
        let preempt = |kind| Preempt { key, victims: Key(other), kind };
        match self {
            Self::Register => Action::Register { claim: Claim::UnregisteredOrNew, key: Some(Key(other)) },
            Self::Unregister(check) => Action::Register { claim: check.claim(current), key: None },
            Self::Replace(check) => Action::Register { claim: check.claim(current), key: Some(Key(other)) },
            Self::Acquire(kind) => Action::Acquire { key, kind },
            Self::Preempt(kind) => Action::Preempt(preempt(kind)),
            Self::PreemptAndAbort(kind) => Action::PreemptAndAbort(preempt(kind)),
            Self::Release(kind) => Action::Release { key, kind },
            Self::Clear => Action::Clear { key },
        }
    }

    /// Whether its data is one key, and not two.
    pub(super) fn has_one_key(self) -> bool {
        matches!(self, Self::Release(_) | Self::Clear)
    }
}

/// RTYPE. Figure 401.
fn kind(cdw10: u32) -> Result<ReservationType, CommandStatus> {
    match cdw10 >> 8 & 0xff {
        1 => Ok(ReservationType::WriteExclusive),
        2 => Ok(ReservationType::ExclusiveAccess),
        3 => Ok(ReservationType::WriteExclusiveRegistrantsOnly),
        4 => Ok(ReservationType::ExclusiveAccessRegistrantsOnly),
        5 => Ok(ReservationType::WriteExclusiveAllRegistrants),
        6 => Ok(ReservationType::ExclusiveAccessAllRegistrants),
        _ => Err(INVALID),
    }
}

/// Value of RTYPE in a report; zero for no reservation.
pub(super) const fn type_value(kind: Option<ReservationType>) -> u8 {
    match kind {
        None => 0,
        Some(ReservationType::WriteExclusive) => 1,
        Some(ReservationType::ExclusiveAccess) => 2,
        Some(ReservationType::WriteExclusiveRegistrantsOnly) => 3,
        Some(ReservationType::ExclusiveAccessRegistrantsOnly) => 4,
        Some(ReservationType::WriteExclusiveAllRegistrants) => 5,
        Some(ReservationType::ExclusiveAccessAllRegistrants) => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WE: ReservationType = ReservationType::WriteExclusive;

    #[test]
    fn each_type_has_its_value() {
        for (value, expected) in (1..).zip(ReservationType::ALL) {
            assert_eq!(kind(value << 8).ok(), Some(expected));
            assert_eq!(u32::from(type_value(Some(expected))), value);
        }
        for value in [0, 7, 0xff] {
            assert_eq!(kind(value << 8), Err(INVALID), "{value}");
        }
    }

    #[test]
    fn a_register_names_its_action_and_leaves_persistence_off() {
        let parse = |cdw10| Order::parse(IoOpcode::RESERVATION_REGISTER, cdw10);
        assert_eq!(parse(0), Ok(Order::Register));
        assert_eq!(parse(1), Ok(Order::Unregister(KeyCheck::Checked)));
        assert_eq!(parse(2 | 8 | 2 << 30), Ok(Order::Replace(KeyCheck::Ignored)));
        for refused in [3, 7, 1 << 30, 3 << 30] {
            assert_eq!(parse(refused), Err(INVALID), "{refused:#x}");
        }
    }

    #[test]
    fn an_acquire_or_release_never_ignores_the_key() {
        let acquire = |cdw10| Order::parse(IoOpcode::RESERVATION_ACQUIRE, cdw10);
        assert_eq!(acquire(1 << 8 | 2), Ok(Order::PreemptAndAbort(WE)));
        let release = |cdw10| Order::parse(IoOpcode::RESERVATION_RELEASE, cdw10);
        assert_eq!(release(1 << 8), Ok(Order::Release(WE)));
        assert_eq!(release(1), Ok(Order::Clear), "its type does not matter");
        for refused in [3, 8, 9] {
            assert_eq!(acquire(1 << 8 | refused), Err(INVALID), "{refused}");
        }
        for refused in [0, 2, 8, 9] {
            assert_eq!(release(refused), Err(INVALID), "{refused}");
        }
    }
}

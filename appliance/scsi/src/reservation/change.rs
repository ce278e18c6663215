//! PERSISTENT RESERVE OUT, RESERVE and RELEASE.

use super::kind;
use crate::bytes::{u8_at, u32_at};
use crate::sense::Sense;
use crate::serve::{Incoming, Reply};
use crate::status::Ending;
use crate::unit::Nexus;
use luge_reservations::{Action, Claim, Key, Preempt, Refused, ReservationType};
use luge_spec::scsi::{AdditionalSense, ReserveOutParameters, ServiceAction, persistent_reserve as bits};
use zerocopy::FromBytes;

/// Bit of each flag of the parameter list that stands for something that is not done.
const REFUSED_FLAGS: [u8; 3] = [bits::SPEC_I_PT, bits::ALL_TG_PT, bits::APTPL];

/// Place of the flags in the parameter list.
const FLAGS_AT: u16 = 20;

/// Place of the service action key in the parameter list.
const ACTION_KEY_AT: u16 = 8;

/// Begins PERSISTENT RESERVE OUT.
pub(crate) fn change(nexus: &Nexus, incoming: &Incoming<'_>) -> Result<Reply, Ending> {
    let action = parse(incoming)?;
    begin(nexus, action)
}

/// Begins RESERVE.
pub(crate) fn hold(nexus: &Nexus) -> Result<Reply, Ending> {
    begin(nexus, Action::Hold)
}

/// Begins RELEASE.
pub(crate) fn unhold(nexus: &Nexus) -> Result<Reply, Ending> {
    begin(nexus, Action::Unhold)
}

fn begin(nexus: &Nexus, action: Action) -> Result<Reply, Ending> {
    nexus.reservations().begin(action, nexus.waker()).map(Reply::Later).map_err(refusal)
}

fn parse(incoming: &Incoming<'_>) -> Result<Action, Sense> {
    let cdb = incoming.cdb;
    let action = ServiceAction(u8_at(cdb, 1) & ServiceAction::MASK);
    let list = parameters(incoming)?;
    let (key, new) = (Key(list.key.get()), list.action_key.get());
    let preempt = || Ok::<_, Sense>(Preempt { key, victims: Key(new), kind: kind_of(cdb)? });
    match action {
        ServiceAction::REGISTER => {
            check_flags(&list)?;
            Ok(Action::Register { claim: claim(key), key: new_key(new) })
        }
        ServiceAction::REGISTER_AND_IGNORE => {
            check_flags(&list)?;
            Ok(Action::Register { claim: Claim::Unchecked, key: new_key(new) })
        }
        ServiceAction::RESERVE => Ok(Action::Acquire { key, kind: kind_of(cdb)? }),
        ServiceAction::RELEASE => Ok(Action::Release { key, kind: kind_of(cdb)? }),
        ServiceAction::CLEAR => Ok(Action::Clear { key }),
        ServiceAction::PREEMPT => Ok(Action::Preempt(preempt()?)),
        ServiceAction::PREEMPT_AND_ABORT => Ok(Action::PreemptAndAbort(preempt()?)),
        _ => Err(Sense::invalid_bit_in_cdb(1, 4)),
    }
}

/// Parameter list, which has one length.
fn parameters(incoming: &Incoming<'_>) -> Result<ReserveOutParameters, Sense> {
    const LENGTH_ERROR: Sense = Sense::illegal_request(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
    if usize::try_from(u32_at(incoming.cdb, 5)) != Ok(size_of::<ReserveOutParameters>()) {
        return Err(LENGTH_ERROR);
    }
    let list = ReserveOutParameters::read_from_prefix(incoming.data_out);
    list.map(|(list, _)| list).map_err(|_| LENGTH_ERROR)
}

/// Refuses what a registration cannot do: name other ports, be for all target ports, persist through a loss of power.
fn check_flags(list: &ReserveOutParameters) -> Result<(), Sense> {
    let Some(flag) = REFUSED_FLAGS.into_iter().find(|flag| list.flags & flag != 0) else { return Ok(()) };
    let bit = u8::try_from(flag.trailing_zeros()).unwrap_or(0);
    Err(Sense::invalid_bit_in_parameters(FLAGS_AT, bit))
}

/// Scope and type, which must be ones that there are.
fn kind_of(cdb: &[u8]) -> Result<ReservationType, Sense> {
    let byte = u8_at(cdb, 2);
    if byte & !bits::TYPE != 0 {
        return Err(Sense::invalid_bit_in_cdb(2, 7));
    }
    kind::of_code(byte).ok_or(Sense::invalid_bit_in_cdb(2, 3))
}

/// Condition of REGISTER. SPC-4, table 53: a key of zero says that there is no registration.
const fn claim(key: Key) -> Claim {
    match key {
        Key(0) => Claim::Unregistered,
        key => Claim::Key(key),
    }
}

/// A key of zero removes the registration.
const fn new_key(key: u64) -> Option<Key> {
    match key {
        0 => None,
        key => Some(Key(key)),
    }
}

/// End of a command that was refused.
fn refusal(refused: Refused) -> Ending {
    let sense = match refused {
        Refused::Conflict | Refused::NoIdentity => return Ending::RESERVATION_CONFLICT,
        Refused::NoRoom => Sense::illegal_request(AdditionalSense::INSUFFICIENT_REGISTRATION_RESOURCES),
        Refused::ZeroKey => Sense::invalid_field_in_parameters(ACTION_KEY_AT),
        Refused::WrongType => {
            Sense::illegal_request(AdditionalSense::INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
        }
        Refused::CannotMove => Sense::invalid_bit_in_cdb(1, 4),
    };
    sense.into()
}

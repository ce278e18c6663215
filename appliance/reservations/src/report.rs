//! Reports of a volume's registrants and reservation.

use crate::{Identity, Key, ReservationType};

/// Port through which a nexus reaches the volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Port {
    /// Number of the target that the port is one of: of a subsystem, or of an SCSI target.
    pub target: u64,
    /// Number of the port on its target: an NVMe controller identifier, or a relative target port.
    pub number: u16,
}

/// Initiator that holds a volume for itself alone, as another one sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Nobody.
    None,
    /// The initiator itself.
    Own,
    /// Another one.
    Another,
}

/// A registrant in a report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegistrantReport {
    /// Name of the registrant.
    pub identity: Identity,
    /// Key of the registrant.
    pub key: Key,
    /// Whether it holds the reservation.
    pub holds: bool,
    /// Ports through which it is connected at this time.
    pub ports: Vec<Port>,
}

/// Registrants and reservation at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Counter of registrations, preemptions and clears, modulo 2^32.
    pub generation: u32,
    /// Type of the reservation, if there is one.
    pub kind: Option<ReservationType>,
    /// Registrants, the oldest first.
    pub registrants: Vec<RegistrantReport>,
}

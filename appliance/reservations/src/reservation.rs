//! The six types of reservation, and the rights that each leaves to whom.

use crate::Rights;

/// Type of a reservation (NVMe Base 2.0, figure 401; SPC-4, table 60).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReservationType {
    /// The holder writes; all read.
    WriteExclusive,
    /// The holder reads and writes.
    ExclusiveAccess,
    /// Registrants write; all read.
    WriteExclusiveRegistrantsOnly,
    /// Registrants read and write.
    ExclusiveAccessRegistrantsOnly,
    /// Registrants write; all read. All registrants hold the reservation.
    WriteExclusiveAllRegistrants,
    /// Registrants read and write. All registrants hold the reservation.
    ExclusiveAccessAllRegistrants,
}

/// Role of an initiator while there is a reservation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A holder of the reservation.
    Holder,
    /// A registrant that holds no reservation.
    Registrant,
    /// Not registered.
    Stranger,
}

impl ReservationType {
    /// All types.
    pub const ALL: [Self; 6] = [
        Self::WriteExclusive,
        Self::ExclusiveAccess,
        Self::WriteExclusiveRegistrantsOnly,
        Self::ExclusiveAccessRegistrantsOnly,
        Self::WriteExclusiveAllRegistrants,
        Self::ExclusiveAccessAllRegistrants,
    ];

    /// Whether every registrant is a holder.
    #[must_use]
    pub const fn is_of_all_registrants(self) -> bool {
        matches!(self, Self::WriteExclusiveAllRegistrants | Self::ExclusiveAccessAllRegistrants)
    }

    /// Whether it gives registrants rights, so that they are told when it is released.
    #[must_use]
    pub const fn serves_registrants(self) -> bool {
        !matches!(self, Self::WriteExclusive | Self::ExclusiveAccess)
    }

    /// Rights of an initiator in that role (NVMe Base 2.0, figure 400).
    #[must_use]
    pub const fn rights(self, role: Role) -> Rights {
        match role {
            Role::Holder => Rights::ReadWrite,
            Role::Registrant if self.serves_registrants() => Rights::ReadWrite,
            Role::Registrant | Role::Stranger => self.rights_of_others(),
        }
    }

    /// Rights of those to whom it gives none.
    const fn rights_of_others(self) -> Rights {
        match self {
            Self::WriteExclusive
            | Self::WriteExclusiveRegistrantsOnly
            | Self::WriteExclusiveAllRegistrants => Rights::Read,
            Self::ExclusiveAccess
            | Self::ExclusiveAccessRegistrantsOnly
            | Self::ExclusiveAccessAllRegistrants => Rights::None,
        }
    }
}

//! Addresses of logical units, and their forms in requests and events (virtio 1.3, clause 5.6.6.1).

use luge_spec::virtio::scsi::LunField;
use std::fmt;
use std::ops::RangeInclusive;

/// Place of a LUN on its adapter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LunAddress {
    /// Number of the target.
    pub target: u8,
    /// Logical unit number on the target.
    pub lun: u8,
}

impl fmt::Display for LunAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LUN {} of target {}", self.lun, self.target)
    }
}

impl LunAddress {
    /// All addresses of a target.
    pub(super) const fn all_of(target: u8) -> RangeInclusive<Self> {
        Self { target, lun: 0 }..=Self { target, lun: u8::MAX }
    }

    /// The address as events have it: in the form that REPORT LUNS tells, by which Linux finds its devices.
    #[must_use]
    pub fn to_field(self) -> LunField {
        LunField([SINGLE_LEVEL, self.target, 0, self.lun, 0, 0, 0, 0])
    }
}

/// Place that a request is for. There may be nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LunPlace {
    /// A logical unit.
    Lun(LunAddress),
    /// A logical unit of this target whose number is above those of an adapter.
    Beyond(u8),
    /// The well-known logical unit REPORT LUNS of this target; of the first one that there is, where none is named.
    ReportLuns(Option<u8>),
}

/// First byte of an address of a target and a logical unit.
const SINGLE_LEVEL: u8 = 1;

/// Addressing method and upper bits of a logical unit number: flat space, number below 256.
const FLAT_SPACE: u8 = 0x40;

impl LunPlace {
    /// Reads an address: the number of a target, and that of a logical unit in one of two forms, 00nn or 4nnn, or the
    /// well-known logical unit C1 01, which may also be addressed without a target. None for any other.
    #[must_use]
    pub fn parse(field: LunField) -> Option<Self> {
        match field.0 {
            [SINGLE_LEVEL, target, 0 | FLAT_SPACE, lun, 0, 0, 0, 0] => {
                Some(Self::Lun(LunAddress { target, lun }))
            }
            [SINGLE_LEVEL, target, FLAT_SPACE..0x80, _, 0, 0, 0, 0] => Some(Self::Beyond(target)),
            [SINGLE_LEVEL, target, 0xc1, 1, 0, 0, 0, 0] => Some(Self::ReportLuns(Some(target))),
            [0xc1, 1, 0, 0, 0, 0, 0, 0] => Some(Self::ReportLuns(None)),
            _ => None,
        }
    }

    /// Number of the target; none where the address names none.
    #[must_use]
    pub fn target(self) -> Option<u8> {
        match self {
            Self::Lun(LunAddress { target, .. }) | Self::Beyond(target) => Some(target),
            Self::ReportLuns(target) => target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_logical_unit_number_are_read_and_all_others_refused() {
        let lun = |target, lun| Some(LunPlace::Lun(LunAddress { target, lun }));
        for (field, place) in [
            ([1, 7, 0, 0, 0, 0, 0, 0], lun(7, 0)),
            ([1, 255, 0, 255, 0, 0, 0, 0], lun(255, 255)),
            ([1, 7, 0x40, 9, 0, 0, 0, 0], lun(7, 9)),
            ([1, 7, 0x41, 0, 0, 0, 0, 0], Some(LunPlace::Beyond(7))),
            ([1, 7, 0x7f, 255, 0, 0, 0, 0], Some(LunPlace::Beyond(7))),
            ([0xc1, 1, 0, 0, 0, 0, 0, 0], Some(LunPlace::ReportLuns(None))),
            ([1, 7, 0xc1, 1, 0, 0, 0, 0], Some(LunPlace::ReportLuns(Some(7)))),
            ([1, 7, 0xc1, 2, 0, 0, 0, 0], None),
            ([1, 7, 0xc1, 1, 0, 0, 0, 1], None),
            ([0, 7, 0, 0, 0, 0, 0, 0], None),
            ([2, 7, 0, 0, 0, 0, 0, 0], None),
            ([1, 7, 1, 0, 0, 0, 0, 0], None),
            ([1, 7, 0x80, 0, 0, 0, 0, 0], None),
            ([1, 7, 0, 0, 1, 0, 0, 0], None),
            ([1, 7, 0, 0, 0, 0, 0, 1], None),
            ([0xc1, 2, 0, 0, 0, 0, 0, 0], None),
            ([0xc1, 1, 0, 0, 0, 0, 0, 1], None),
        ] {
            assert_eq!(LunPlace::parse(LunField(field)), place, "{field:02x?}");
        }
    }

    #[test]
    fn an_address_in_an_event_is_read_as_that_address() {
        let address = LunAddress { target: 3, lun: 200 };
        assert_eq!(LunPlace::parse(address.to_field()), Some(LunPlace::Lun(address)));
    }
}

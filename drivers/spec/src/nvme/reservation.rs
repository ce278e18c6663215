//! Reservations: command data and reports. Base 2.0, clauses 7.2 to 7.5 and 5.16.1.25.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Keys in the data of Reservation Register and Reservation Acquire. Figures 397 and 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ReservationKeys {
    /// CRKEY: key that the host has registered.
    pub current: u64,
    /// NRKEY: new key; or PRKEY: key of the registrations to be preempted.
    pub other: u64,
}

const _: () = assert!(size_of::<ReservationKeys>() == 16);

/// Header of the report of registrants. Figure 404.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ReservationStatus {
    /// GEN: counter of changes.
    pub generation: u32,
    /// RTYPE: type of the reservation; zero for none.
    pub kind: u8,
    /// REGCTL: number of the structures that follow, little-endian.
    pub registered: [u8; 2],
    /// Reserved.
    pub reserved_7: [u8; 2],
    /// PTPLS: whether registrations persist through a loss of power.
    pub persists: u8,
    /// Reserved.
    pub reserved_10: [u8; 14],
}

const _: () = assert!(size_of::<ReservationStatus>() == 24);

/// Bytes between the header of an extended report and its first structure.
pub const EXTENDED_STATUS_GAP: usize = 40;

/// A registered controller. Figure 406.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RegisteredController {
    /// CNTLID: the controller; [`Self::NO_CONTROLLER`] for a registrant that has none.
    pub controller: u16,
    /// RCSTS: bit 0 is set if its host holds the reservation.
    pub status: u8,
    /// Reserved.
    pub reserved_3: [u8; 5],
    /// HOSTID: host identifier of 64 bits.
    pub host: u64,
    /// RKEY: key of the host.
    pub key: u64,
}

const _: () = assert!(size_of::<RegisteredController>() == 24);

impl RegisteredController {
    /// CNTLID of a registrant that is not connected.
    pub const NO_CONTROLLER: u16 = 0xffff;
    /// Bit of RCSTS: the host holds the reservation.
    pub const HOLDS: u8 = 1 << 0;
}

/// A registered controller whose host identifier has 128 bits. Figure 407.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExtendedRegisteredController {
    /// CNTLID, as in [`RegisteredController`].
    pub controller: u16,
    /// RCSTS, as in [`RegisteredController`].
    pub status: u8,
    /// Reserved.
    pub reserved_3: [u8; 5],
    /// RKEY: key of the host.
    pub key: u64,
    /// HOSTID: host identifier.
    pub host: [u8; 16],
    /// Reserved.
    pub reserved_32: [u8; 32],
}

const _: () = assert!(size_of::<ExtendedRegisteredController>() == 64);

/// Reservation Notification log. Clause 5.16.1.25.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ReservationLog {
    /// Ordinal of the notification, from 1; zero in an empty log.
    pub count: u64,
    /// Type of the notification, of [`reservation_notice`].
    pub kind: u8,
    /// Number of further notifications that wait to be read; 255 for more.
    pub available: u8,
    /// Reserved.
    pub reserved_10: [u8; 2],
    /// Namespace.
    pub namespace: u32,
    /// Reserved.
    pub reserved_16: [u64; 6],
}

const _: () = assert!(size_of::<ReservationLog>() == 64);

/// Types of reservation notifications, which are also bits of the Reservation Notification Mask.
pub mod reservation_notice {
    /// The log is empty.
    pub const NONE: u8 = 0;
    /// The host's registration was preempted.
    pub const REGISTRATION_PREEMPTED: u8 = 1;
    /// The reservation was released.
    pub const RESERVATION_RELEASED: u8 = 2;
    /// The reservation was cleared.
    pub const RESERVATION_PREEMPTED: u8 = 3;
    /// Bits of the mask.
    pub const MASK: u32 =
        1 << REGISTRATION_PREEMPTED | 1 << RESERVATION_RELEASED | 1 << RESERVATION_PREEMPTED;
}

/// Fields of CDW10 of the commands.
pub mod reservation_command {
    /// IEKEY: the current key is not checked.
    pub const IGNORE_KEY: u32 = 1 << 3;
    /// RREGA: registers a key.
    pub const REGISTER: u32 = 0;
    /// RREGA: removes the registration.
    pub const UNREGISTER: u32 = 1;
    /// RREGA: replaces the key.
    pub const REPLACE: u32 = 2;
    /// CPTPL: persistence through a loss of power does not change.
    pub const PERSISTENCE_UNCHANGED: u32 = 0;
    /// CPTPL: registrations do not persist.
    pub const PERSISTENCE_OFF: u32 = 2;
    /// CPTPL: registrations persist.
    pub const PERSISTENCE_ON: u32 = 3;
    /// RACQA: acquires the reservation.
    pub const ACQUIRE: u32 = 0;
    /// RACQA: preempts.
    pub const PREEMPT: u32 = 1;
    /// RACQA: preempts, and aborts the commands of the preempted hosts.
    pub const PREEMPT_AND_ABORT: u32 = 2;
    /// RRELA: releases the reservation.
    pub const RELEASE: u32 = 0;
    /// RRELA: clears reservation and registrations.
    pub const CLEAR: u32 = 1;
    /// EDS in CDW11 of Reservation Report: structures with host identifiers of 128 bits.
    pub const EXTENDED: u32 = 1 << 0;
}

/// Bits of RESCAP of Identify Namespace.
pub mod reservation_abilities {
    /// All six types.
    pub const ALL_TYPES: u8 = 0x7e;
    /// IEKEY is that of revision 1.3 and later.
    pub const IGNORE_KEY: u8 = 1 << 7;
}

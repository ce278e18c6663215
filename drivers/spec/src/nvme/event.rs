//! Asynchronous events. Base 2.0, clause 5.2.

use std::fmt;

/// DW0 of the completion of an Asynchronous Event Request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct AsyncEvent(pub u32);

/// Type of an event: bits 2 to 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct EventType(pub u8);

impl EventType {
    /// An error that no completion reports.
    pub const ERROR: Self = Self(0);
    /// The health of the SSD changed.
    pub const HEALTH: Self = Self(1);
    /// Another change: of namespaces or firmware.
    pub const NOTICE: Self = Self(2);
    /// Reset of the subsystem, or power management.
    pub const IMMEDIATE: Self = Self(3);
    /// Event of a command set, such as of reservations.
    pub const COMMAND_SET: Self = Self(6);
}

impl AsyncEvent {
    /// A namespace was added, removed or changed.
    pub const NAMESPACES_CHANGED: Self = Self(2 | 4 << 16);
    /// The host has written a doorbell of a queue that does not exist.
    pub const INVALID_DOORBELL_REGISTER: Self = Self(1 << 16);
    /// The host has written a value to a doorbell that is out of range.
    pub const INVALID_DOORBELL_VALUE: Self = Self(1 << 8 | 1 << 16);
    /// There is a notification in the log of reservations.
    pub const RESERVATION_NOTIFICATION: Self = Self(6 | 0x80 << 16);

    /// A temperature has reached a threshold.
    pub const TEMPERATURE_THRESHOLD: Self = Self(1 | 1 << 8 | 2 << 16);

    /// Type of the event.
    #[must_use]
    pub const fn event_type(self) -> EventType {
        EventType((self.0 & 7) as u8)
    }

    /// Event of its type.
    #[must_use]
    pub const fn information(self) -> u8 {
        (self.0 >> 8 & 0xff) as u8
    }

    /// Log page with the details; reading it allows the next event of this type.
    #[must_use]
    pub const fn log_page(self) -> u8 {
        (self.0 >> 16 & 0xff) as u8
    }
}

impl fmt::Display for AsyncEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (self.event_type(), self.information()) {
            (EventType::ERROR, 0) => "write to an invalid doorbell",
            (EventType::ERROR, 1) => "invalid doorbell value",
            (EventType::ERROR, 2) => "diagnostic failure",
            (EventType::ERROR, 3) => "persistent internal error",
            (EventType::ERROR, 4) => "transient internal error",
            (EventType::ERROR, 5) => "firmware image load error",
            (EventType::ERROR, _) => "error",
            (EventType::HEALTH, 0) => "reliability degraded",
            (EventType::HEALTH, 1) => "temperature above or below a threshold",
            (EventType::HEALTH, 2) => "spare capacity below its threshold",
            (EventType::HEALTH, _) => "health changed",
            (EventType::NOTICE, 0) => "a namespace was added, removed or changed",
            (EventType::NOTICE, 1) => "firmware activation is starting",
            (EventType::NOTICE, _) => "notice",
            (EventType::IMMEDIATE, _) => "subsystem event",
            _ => "unknown event",
        };
        write!(f, "{text} ({}/{:#04x}, log page {:#04x})", self.0 & 7, self.information(), self.log_page())
    }
}

//! Notifications of reservations that a host has still to read. Base 2.0, clause 5.16.1.25.

use luge_reservations::Notice;
use luge_spec::nvme::{ReservationLog, reservation_notice};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Most notifications that wait. A host sees by the ordinals that some are missing.
const NOTIFICATIONS_MAX: usize = 256;

/// A notification.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Record {
    count: u64,
    kind: u8,
    namespace: u32,
}

/// Notifications that a host has still to read, and the number of all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReservationNotices {
    count: u64,
    records: VecDeque<Record>,
}

/// Type of the notification of a notice, which is also its bit in the mask.
pub(crate) const fn kind(notice: Notice) -> u8 {
    match notice {
        Notice::RegistrationPreempted => reservation_notice::REGISTRATION_PREEMPTED,
        Notice::ReservationReleased => reservation_notice::RESERVATION_RELEASED,
        Notice::ReservationPreempted => reservation_notice::RESERVATION_PREEMPTED,
    }
}

impl ReservationNotices {
    /// Adds a notification of that type. One that has no room is lost, and counted.
    pub(crate) fn add(&mut self, namespace: u32, kind: u8) {
        // Zero is the ordinal of none.
        self.count = self.count.checked_add(1).unwrap_or(1);
        if self.records.len() < NOTIFICATIONS_MAX {
            self.records.push_back(Record { count: self.count, kind, namespace });
        }
    }

    /// The log page: the notification that is to be read next.
    pub(crate) fn page(&self) -> ReservationLog {
        let Some(&Record { count, kind, namespace }) = self.records.front() else {
            return ReservationLog::default();
        };
        let others = self.records.len().saturating_sub(1);
        let available = u8::try_from(others).unwrap_or(u8::MAX);
        ReservationLog { count, kind, available, namespace, ..ReservationLog::default() }
    }

    /// The host has read the next notification; returns whether there are more.
    pub(crate) fn was_read(&mut self) -> bool {
        self.records.pop_front();
        !self.records.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_notification_is_read_once_in_its_order() {
        let mut notices = ReservationNotices::default();
        assert_eq!(notices.page(), ReservationLog::default());
        notices.add(1, reservation_notice::RESERVATION_RELEASED);
        notices.add(2, reservation_notice::REGISTRATION_PREEMPTED);
        let first = notices.page();
        assert_eq!(first.count, 1);
        assert_eq!(first.namespace, 1);
        assert_eq!(first.available, 1);
        assert_eq!(notices.page(), first, "it was not read");
        assert!(notices.was_read());
        assert_eq!(notices.page().count, 2);
        assert!(!notices.was_read());
        assert_eq!(notices.page().kind, reservation_notice::NONE);
    }

    #[test]
    fn notifications_without_room_are_counted() {
        let mut notices = ReservationNotices::default();
        (0..=NOTIFICATIONS_MAX).for_each(|_| notices.add(1, 1));
        assert_eq!(notices.page().available, 255);
        while notices.was_read() {}
        notices.add(1, 1);
        assert_eq!(notices.page().count, 258, "one is missing");
    }
}

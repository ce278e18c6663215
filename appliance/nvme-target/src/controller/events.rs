//! Asynchronous events. Base 2.0, clause 5.2.
//!
//! ```text
//!  (1) quiet   --an event, and a request waits for it--> (2) masked: the request is completed
//!  (1) quiet   --an event, and no request waits--> (3) pending --a request comes--> (2)
//!  (2) masked  --an event--> it is kept in its log
//!  (2) masked  --the log is read--> (1)
//! ```
//!
//! The states are of a type of events. An event that comes while its type is masked is not lost: the host has still to
//! read the log, which tells of it.

use crate::ids::NamespaceId;
use luge_spec::nvme::{AsyncEvent, LogPage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Asynchronous events of a controller.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Events {
    /// DW0 of the events that no request has waited for yet.
    pending: BTreeSet<u32>,
    /// Types of events that the host was told of, until it reads their log.
    masked: BTreeSet<u8>,
    /// Namespaces that have changed since the host has read their list.
    changed_namespaces: BTreeSet<u32>,
}

impl Events {
    /// Adds an event, unless its type is masked.
    pub(crate) fn add(&mut self, event: AsyncEvent) {
        if !self.masked.contains(&event.event_type().0) {
            self.pending.insert(event.0);
        }
    }

    /// Adds a namespace to the list of those that have changed.
    pub(crate) fn namespace_changed(&mut self, id: NamespaceId) {
        self.changed_namespaces.insert(id.0);
    }

    /// The next event, which masks its type: a request waits for it.
    pub(crate) fn take(&mut self) -> Option<AsyncEvent> {
        let is_masked = |event: AsyncEvent| self.masked.contains(&event.event_type().0);
        let event = self.pending.iter().copied().map(AsyncEvent).find(|&event| !is_masked(event))?;
        self.pending.remove(&event.0);
        self.masked.insert(event.event_type().0);
        Some(event)
    }

    /// Namespaces that have changed since the host has read their list.
    pub(crate) fn changed_namespaces(&self) -> &BTreeSet<u32> {
        &self.changed_namespaces
    }

    /// The host has read a log, and did not ask to retain its event.
    pub(crate) fn log_was_read(&mut self, page: LogPage) {
        let of_page = |event: &AsyncEvent| event.log_page() == page.0;
        self.pending.retain(|&event| !of_page(&AsyncEvent(event)));
        match page {
            LogPage::CHANGED_NAMESPACES => {
                self.changed_namespaces.clear();
                self.unmask(AsyncEvent::NAMESPACES_CHANGED);
            }
            LogPage::HEALTH => self.unmask(AsyncEvent::TEMPERATURE_THRESHOLD),
            LogPage::ERRORS => self.unmask(AsyncEvent::INVALID_DOORBELL_VALUE),
            LogPage::RESERVATIONS => self.unmask(AsyncEvent::RESERVATION_NOTIFICATION),
            _ => {}
        }
    }

    fn unmask(&mut self, event: AsyncEvent) {
        self.masked.remove(&event.event_type().0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGED: AsyncEvent = AsyncEvent::NAMESPACES_CHANGED;

    #[test]
    fn an_event_is_told_once_until_its_log_is_read() {
        let mut events = Events::default();
        events.add(CHANGED);
        assert_eq!(events.take(), Some(CHANGED));
        events.add(CHANGED);
        assert_eq!(events.take(), None, "masked");
        events.log_was_read(LogPage::CHANGED_NAMESPACES);
        assert_eq!(events.take(), None, "the log has told of it");
        events.add(CHANGED);
        assert_eq!(events.take(), Some(CHANGED));
    }

    #[test]
    fn changes_that_fall_together_are_all_in_the_list() {
        let mut events = Events::default();
        events.namespace_changed(NamespaceId(3));
        events.add(CHANGED);
        assert_eq!(events.take(), Some(CHANGED));
        events.namespace_changed(NamespaceId(1));
        events.add(CHANGED);
        assert_eq!(events.changed_namespaces().iter().copied().collect::<Vec<_>>(), [1, 3]);
        events.log_was_read(LogPage::CHANGED_NAMESPACES);
        assert!(events.changed_namespaces().is_empty());
    }

    #[test]
    fn events_of_another_type_are_told_while_one_is_masked() {
        let mut events = Events::default();
        events.add(CHANGED);
        assert!(events.take().is_some());
        events.add(AsyncEvent::INVALID_DOORBELL_VALUE);
        assert_eq!(events.take(), Some(AsyncEvent::INVALID_DOORBELL_VALUE));
        events.log_was_read(LogPage::ERRORS);
        events.add(AsyncEvent::INVALID_DOORBELL_REGISTER);
        assert_eq!(events.take(), Some(AsyncEvent::INVALID_DOORBELL_REGISTER));
    }

    #[test]
    fn of_two_events_of_a_type_that_wait_one_is_told() {
        let mut events = Events::default();
        events.add(AsyncEvent::INVALID_DOORBELL_VALUE);
        events.add(AsyncEvent::INVALID_DOORBELL_REGISTER);
        assert!(events.take().is_some());
        assert_eq!(events.take(), None, "its type is masked, and the log tells of it");
    }

    #[test]
    fn an_event_whose_log_was_read_before_it_was_told_is_told_no_more() {
        let mut events = Events::default();
        events.add(CHANGED);
        events.log_was_read(LogPage::CHANGED_NAMESPACES);
        assert_eq!(events.take(), None);
    }
}

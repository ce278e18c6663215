//! Asynchronous Event Requests: which are with the controller, and what came back.
//!
//! Path: none; part of the admin queue.

use crate::Fault;
use luge_spec::nvme::{AsyncEvent, StatusCode};
use std::collections::VecDeque;

/// The requests, by command identifier, and the events not yet looked at.
#[derive(Default)]
pub(crate) struct EventRequests {
    with_controller: [bool; Self::IDS as usize],
    limit: usize,
    arrived: VecDeque<AsyncEvent>,
}

impl EventRequests {
    /// Command identifiers below this are those of event requests.
    pub(crate) const IDS: u16 = 4;

    /// How many the controller takes: AERL, zero-based.
    pub(crate) fn set_limit_z(&mut self, limit_z: u8) {
        self.limit = usize::from(limit_z).saturating_add(1).min(self.with_controller.len());
    }

    /// The controller was reset: it has none.
    pub(crate) fn forget(&mut self) {
        self.with_controller = Default::default();
    }

    /// A request that is to go to the controller; counted as being there from now on.
    pub(crate) fn next_to_send(&mut self) -> Option<u16> {
        let (id, with_controller) =
            (0..).zip(&mut self.with_controller).take(self.limit).find(|(_, with)| !**with)?;
        *with_controller = true;
        Some(id)
    }

    /// A completion that is no command's.
    pub(crate) fn accept(&mut self, id: u16, status: StatusCode, result: u32) -> Result<(), Fault> {
        let with_controller = self.with_controller.get_mut(usize::from(id)).ok_or(Fault::UnknownCommand)?;
        if !std::mem::take(with_controller) {
            return Err(Fault::NotInFlight);
        }
        if status == StatusCode::SUCCESS {
            self.arrived.push_back(AsyncEvent(result));
        } else {
            // It takes fewer than it said, or is about to stop: what it has must do.
            self.limit = self.with_controller.iter().filter(|with| **with).count();
        }
        Ok(())
    }

    /// The next event.
    pub(crate) fn take(&mut self) -> Option<AsyncEvent> {
        self.arrived.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_requests_go_out_than_the_controller_takes() {
        let mut requests = EventRequests::default();
        requests.set_limit_z(1);
        assert_eq!((requests.next_to_send(), requests.next_to_send()), (Some(0), Some(1)));
        assert_eq!(requests.next_to_send(), None);
        requests.accept(1, StatusCode::SUCCESS, 0x20000).unwrap();
        assert_eq!((requests.take(), requests.next_to_send()), (Some(AsyncEvent(0x20000)), Some(1)));
    }

    #[test]
    fn a_completion_that_nobody_awaits_is_a_fault() {
        let mut requests = EventRequests::default();
        requests.set_limit_z(255);
        assert_eq!(requests.accept(2, StatusCode::SUCCESS, 0), Err(Fault::NotInFlight));
        assert_eq!(requests.accept(4, StatusCode::SUCCESS, 0), Err(Fault::UnknownCommand));
    }

    #[test]
    fn a_refused_request_is_not_sent_again() {
        let mut requests = EventRequests::default();
        requests.set_limit_z(3);
        while requests.next_to_send().is_some() {}
        requests.accept(3, StatusCode::EVENT_LIMIT_EXCEEDED, 0).unwrap();
        assert_eq!((requests.next_to_send(), requests.take()), (None, None));
    }
}

//! Asynchronous Event Requests that the controller has, and the events that it has sent.
//!
//! Path: none; part of the admin queue.

use crate::Fault;
use luge_spec::nvme::{AsyncEvent, StatusCode};
use std::collections::VecDeque;

/// Requests by command identifier, and events that nobody has taken yet.
#[derive(Default)]
pub(crate) struct EventRequests {
    with_controller: [bool; Self::IDS as usize],
    limit: usize,
    arrived: VecDeque<AsyncEvent>,
}

impl EventRequests {
    /// Number of requests. The command identifiers below it are theirs.
    pub(crate) const IDS: u16 = 4;

    /// Sets the number of requests that the controller takes: AERL, zero-based.
    pub(crate) fn set_limit_z(&mut self, limit_z: u8) {
        self.limit = usize::from(limit_z).saturating_add(1).min(self.with_controller.len());
    }

    /// Forgets the requests that the controller had: it was reset.
    pub(crate) fn forget(&mut self) {
        self.with_controller = Default::default();
    }

    /// Identifier of a request to be sent, which counts as sent from now on; none where the controller has enough.
    pub(crate) fn next_to_send(&mut self) -> Option<u16> {
        let (id, with_controller) =
            (0..).zip(&mut self.with_controller).take(self.limit).find(|(_, with)| !**with)?;
        *with_controller = true;
        Some(id)
    }

    /// Takes a completion that is not of the command in flight.
    pub(crate) fn accept(&mut self, id: u16, status: StatusCode, result: u32) -> Result<(), Fault> {
        let with_controller = self.with_controller.get_mut(usize::from(id)).ok_or(Fault::UnknownCommand)?;
        if !std::mem::take(with_controller) {
            return Err(Fault::NotInFlight);
        }
        if status == StatusCode::SUCCESS {
            self.arrived.push_back(AsyncEvent(result));
        } else {
            // The controller takes fewer than it said, or is about to stop: it gets no more.
            self.limit = self.with_controller.iter().filter(|with| **with).count();
        }
        Ok(())
    }

    /// Takes the oldest event.
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
        assert_eq!(requests.next_to_send(), Some(0));
        assert_eq!(requests.next_to_send(), Some(1));
        assert_eq!(requests.next_to_send(), None);
        requests.accept(1, StatusCode::SUCCESS, 0x20000).unwrap();
        assert_eq!(requests.take(), Some(AsyncEvent(0x20000)));
        assert_eq!(requests.next_to_send(), Some(1));
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
        assert_eq!(requests.next_to_send(), None);
        assert_eq!(requests.take(), None);
    }
}

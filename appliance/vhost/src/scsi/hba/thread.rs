//! The thread of an adapter.
//!
//! ```text
//!  a round: the bell --> new tables --> events --> removals that are over --> resets by others --> relayed requests
//!           --> functions and changes that are over --> the bell
//! ```
//!
//! Invariant: it waits for its bell, and for turns of cores. Whatever waits for an SSD, a guest or another adapter is a
//! state, which a later round looks at.

use super::events::event;
use super::life::LunChange;
use super::sessions::SeatName;
use super::shared::Shared;
use super::waiting::RequestName;
use super::worker::Worker;
use crate::scsi::relay::{Relayed, RelayedRequest};
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::thread::JoinHandle;

/// The most relayed requests of a round.
const REQUESTS_PER_ROUND_MAX: usize = 64;

/// Starts the thread of an adapter.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let mut worker = Worker::new(shared);
    // A name with a zero byte is none of a thread.
    let name = format!("scsi {}", shared.name).replace('\0', "");
    std::thread::Builder::new().name(name).spawn(move || worker.run())
}

impl Worker {
    fn run(&mut self) {
        while !self.shared.quit.load(Acquire) {
            self.wait();
            self.shared.relay.hush();
            self.round();
        }
    }

    fn wait(&self) {
        let bell = self.shared.relay.bell();
        // It fails where it is interrupted or out of memory: the round finds nothing to do then.
        let _ = poll(&mut [PollFd::new(&bell, PollFlags::IN)], None);
    }

    fn round(&mut self) {
        self.renew_tables();
        self.tell_changes();
        self.finish_removals();
        self.end_commands_of_resets();
        self.serve_requests();
        self.finish_functions();
        self.finish_commands();
    }

    /// Tells the guest what has changed: when the cores have the tables, so that it finds what it is told of.
    fn tell_changes(&mut self) {
        let shared = self.shared.clone();
        let (mut sessions, luns) = (shared.sessions(), shared.luns());
        for (address, change) in self.untold.drain(..) {
            if change != LunChange::Resized {
                let others = luns.of_target(address.target).filter(|(other, _)| *other != address);
                others.for_each(|(_, lun)| lun.nexus.luns_changed());
            }
            sessions.tell(event(address, change));
        }
        drop(luns);
        sessions.hand_over_events();
    }

    fn serve_requests(&mut self) {
        for _ in 0..REQUESTS_PER_ROUND_MAX {
            match self.shared.relay.next() {
                Some(request) => self.serve(request),
                None => return,
            }
        }
        self.shared.relay.ring();
    }

    fn serve(&mut self, Relayed { queue, session, id, request }: Relayed) {
        let name = RequestName { seat: SeatName { queue, number: session }, id };
        match request {
            RelayedRequest::Command(command) => self.serve_command(name, &command),
            RelayedRequest::TaskManagement(request) => self.begin_function(name, &request),
            RelayedRequest::Notification(request) => self.answer_notification(name, &request),
        }
    }
}

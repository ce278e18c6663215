//! The thread of an adapter.
//!
//! ```text
//!  a round: the bell --> new tables --> events --> removals that are over --> relayed requests --> functions and
//!           changes that are over --> the bell
//! ```
//!
//! Invariant: it waits for its bell, and for turns of cores. Whatever waits for an SSD, a guest or another adapter is a
//! state, which a later round looks at.

use super::cancellation::Cancellation;
use super::commands::{CommandName, WaitingCommand};
use super::events::event;
use super::functions::{ControlName, WaitingFunction};
use super::life::LunChange;
use super::sessions::SeatName;
use super::shared::Shared;
use super::tables::Tables;
use crate::scsi::lun::LunAddress;
use crate::scsi::relay::{Relayed, RelayedRequest};
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::thread::JoinHandle;

/// The most relayed requests of a round.
const REQUESTS_PER_ROUND_MAX: usize = 64;

/// State that only the thread of an adapter has.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) tables: Tables,
    /// Changes that the cores know, and the guest does not.
    pub(super) untold: Vec<(LunAddress, LunChange)>,
    /// Removals of which not all sessions know.
    pub(super) removals: Vec<(LunAddress, Cancellation)>,
    pub(super) functions: Vec<WaitingFunction>,
    pub(super) commands: Vec<WaitingCommand>,
}

/// Starts the thread of an adapter.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let mut worker = Worker {
        shared: shared.clone(),
        tables: Tables::new(),
        untold: Vec::new(),
        removals: Vec::new(),
        functions: Vec::new(),
        commands: Vec::new(),
    };
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
        let seat = SeatName { queue, number: session };
        let control = ControlName { seat, id };
        match request {
            RelayedRequest::Command(command) => self.serve_command(CommandName { seat, id }, &command),
            RelayedRequest::TaskManagement(request) => self.begin_function(control, &request),
            RelayedRequest::Notification(request) => self.answer_notification(control, &request),
        }
    }
}

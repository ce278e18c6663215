//! Sessions of an adapter's queues, as its thread sees them.
//!
//! ```text
//!  (1) made    --its ring runs: started--> (2) runs; it takes requests when it has got a table
//!  (2) runs    --stopped--> (3) leaving: it takes nothing more, and what it has taken ends
//!  (3) leaving --left--> gone
//! ```
//!
//! A session that is leaving is called, too: requests that it has relayed are answered.

use crate::device::{QueueSession, SessionAddress};
use crate::scsi::control::ControlSession;
use crate::scsi::events::{EventSession, PendingEvents};
use crate::scsi::relay::SessionNumber;
use crate::scsi::session::RequestSession;
use crate::scsi::table::LunTable;
use luge_block::CoreId;
use luge_core::{Core, Session};
use luge_spec::virtio::Features;
use luge_spec::virtio::scsi::{EVENT_QUEUE, Event, EventKind, REQUEST_QUEUE};
use luge_volume::Graph;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A session with a number.
pub(super) trait Numbered: Session {
    /// Number of the session.
    fn number_of(&self) -> SessionNumber;
}

impl Numbered for RequestSession {
    fn number_of(&self) -> SessionNumber {
        self.number()
    }
}

impl Numbered for ControlSession {
    fn number_of(&self) -> SessionNumber {
        self.number()
    }
}

/// A session on its core.
#[derive(Clone)]
pub(super) struct Seat {
    at: SessionAddress,
    number: SessionNumber,
}

/// Session of a queue by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SeatName {
    pub(super) queue: u16,
    pub(super) number: SessionNumber,
}

impl Seat {
    /// Calls `task` with the session, between two turns of its core, and waits for the result; none where it has left.
    pub(super) fn call<S: Numbered, R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> Option<R> {
        self.call_with_graph(|session, _| task(session))
    }

    /// Calls `task` as [`Self::call`], with the graph of the core.
    pub(super) fn call_with_graph<S: Numbered, R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut S, &mut Graph) -> R + Send + 'static,
    ) -> Option<R> {
        let number = self.number;
        // Another session may have its place on the core by now.
        let task = move |session: &mut S, graph: &mut Graph| {
            (session.number_of() == number).then(|| task(session, graph))
        };
        self.at.call_with_graph(task).flatten()
    }
}

/// Sessions of an adapter's queues.
#[derive(Default)]
pub(super) struct Sessions {
    /// (1): the last session that was made for each queue.
    made: BTreeMap<u16, SessionNumber>,
    /// (2) and (3), by their queues.
    seats: BTreeMap<u16, Seat>,
    /// (2): session of the event queue.
    event_seat: Option<SessionAddress>,
    /// Events that no session has.
    events: PendingEvents,
    /// Features that the driver of the last event queue has negotiated.
    features: Option<Features>,
    /// Whether there are sessions that have got no table yet.
    has_new: bool,
    /// Request queues that nobody has used when their rings stopped last: where those go on tells nothing.
    unused: BTreeSet<u16>,
    /// Whether the running rings are known to have begun anew.
    has_begun: bool,
    /// Whether the guest has reset the adapter, and units do not know.
    has_reset: bool,
}

/// Life of sessions.
impl Sessions {
    /// To (1).
    pub(super) fn made(&mut self, name: SeatName, begins: RingBeginning) {
        let is_anew = begins == RingBeginning::Fresh && !self.unused.contains(&name.queue);
        if name.queue >= REQUEST_QUEUE && is_anew && !self.has_begun {
            (self.has_begun, self.has_reset) = (true, true);
        }
        self.made.insert(name.queue, name.number);
    }

    /// Whether the guest has reset the adapter since the last call, or another one has taken its place. Events from
    /// before are forgotten: its driver looks for LUNs itself, and an old event could take one away.
    pub(super) fn take_has_reset(&mut self) -> bool {
        let has_reset = std::mem::take(&mut self.has_reset);
        if has_reset {
            self.events.forget();
        }
        has_reset
    }

    /// (1) to (2).
    pub(super) fn started(&mut self, queue: u16, at: SessionAddress) {
        if queue == EVENT_QUEUE {
            self.event_seat = Some(at);
        } else if let Some(number) = self.made.remove(&queue) {
            self.seats.insert(queue, Seat { at, number });
            self.has_new = true;
        }
    }

    /// (2) to (3).
    pub(super) fn stopped(&mut self, queue: u16) {
        if queue == EVENT_QUEUE {
            self.take_events_back();
        } else if queue >= REQUEST_QUEUE
            && let Some(seat) = self.seats.get(&queue)
        {
            let base = seat.call(|session: &mut RequestSession| session.queue().base());
            if base == Some(0) {
                self.unused.insert(queue)
            } else {
                self.unused.remove(&queue)
            };
        }
    }

    /// (3) to gone.
    pub(super) fn left(&mut self, queue: u16) {
        self.seats.remove(&queue);
        let is_running = self.requests().next().is_some();
        self.has_begun &= is_running;
    }

    /// Session with a name; none where it has left.
    pub(super) fn get(&self, name: SeatName) -> Option<&Seat> {
        self.seats.get(&name.queue).filter(|seat| seat.number == name.number)
    }

    /// Sessions of request queues.
    pub(super) fn requests(&self) -> impl Iterator<Item = SeatName> {
        self.request_seats().map(|(&queue, seat)| SeatName { queue, number: seat.number })
    }

    fn request_seats(&self) -> impl Iterator<Item = (&u16, &Seat)> {
        self.seats.range(REQUEST_QUEUE..)
    }
}

/// Events.
impl Sessions {
    /// Notes what the driver of the event queue has negotiated.
    pub(super) fn set_features(&mut self, features: Features) {
        self.features = Some(features);
    }

    /// Takes the events back for which the guest has supplied no buffers.
    fn take_events_back(&mut self) {
        let Some(at) = self.event_seat.take() else { return };
        if let Some(mut untold) = at.call(EventSession::take_pending) {
            untold.append(&self.events);
            self.events = untold;
        }
    }

    /// Tells the guest of an event, as soon as it supplies a buffer, if its driver wants to know of such.
    pub(super) fn tell(&mut self, event: Event) {
        let wanted = if event.kind == EventKind::TRANSPORT_RESET {
            Features::SCSI_HOTPLUG
        } else {
            Features::SCSI_CHANGE
        };
        if self.features.is_none_or(|features| features.contains(wanted)) {
            self.events.add(event);
        }
    }

    /// Gives the session of the event queue what no session has. Not before the guest can look at what it is told of:
    /// until then it may turn out that it has reset the adapter.
    pub(super) fn hand_over_events(&mut self) {
        if self.events.is_empty() || self.requests().next().is_none() {
            return;
        }
        if let Some(at) = &self.event_seat {
            let events = std::mem::take(&mut self.events);
            at.call(move |session: &mut EventSession| session.append(&events));
        }
    }
}

/// Whether a ring begins anew or goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RingBeginning {
    /// The driver has just set the ring up.
    Fresh,
    /// The ring goes on where it stopped.
    GoesOn,
}

/// A session that is to get a table, and the table that it had.
struct TableChange {
    at: SessionAddress,
    number: SessionNumber,
    before: Option<Arc<LunTable>>,
}

/// Tables.
impl Sessions {
    /// Whether there are sessions since the last call that have got no table.
    pub(super) fn take_has_new(&mut self) -> bool {
        std::mem::take(&mut self.has_new)
    }

    /// Cores that serve request queues.
    pub(super) fn cores(&self) -> BTreeSet<CoreId> {
        self.request_seats().map(|(_, seat)| seat.at.core.id()).collect()
    }

    /// Gives all sessions of a core a table, in one task. Those before it are dropped here.
    pub(super) fn give_table(&self, core: CoreId, table: &Arc<LunTable>) {
        let of_core = self.request_seats().filter(|(_, seat)| seat.at.core.id() == core);
        let change =
            |(_, seat): (&u16, &Seat)| TableChange { at: seat.at.clone(), number: seat.number, before: None };
        let mut changes: Vec<TableChange> = of_core.map(change).collect();
        let Some(at) = changes.first().map(|change| change.at.clone()) else { return };
        let table = table.clone();
        at.core.call(move |core| {
            changes.iter_mut().for_each(|change| change.make(core, &table));
            (changes, table)
        });
    }
}

impl TableChange {
    fn make(&mut self, core: &mut Core, table: &Arc<LunTable>) {
        let session = core.session_as::<RequestSession>(self.at.session);
        if let Some(session) = session.filter(|session| session.number() == self.number) {
            self.before = session.replace_table(table.clone());
        }
    }
}

//! Turns of parsing: long texts are parsed one at a time, because their values take many times their bytes.
//!
//! Clients share the time by weighted fair queueing, with equal weights. *Virtual time* is what each of them would
//! have got so far if they were served at the same time, in equal parts. A turn ends in virtual time as much
//! later than its client's last turn, or than now, as its text costs; the turn that ends first is next. So a
//! client waits for as much work of each other one as its own text is, and for the text that is being parsed,
//! however long the texts of others are and however many they send.
//!
//! Invariants
//! - At most one turn is under way.
//! - The queue has one place for each connection at most, and remembers no client for longer than until the
//!   others have caught up with it.

use luge_socket::Peer;
use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Largest number of clients among which time is divided. Those that leave and come back as others do not make
/// a large text wait for ever.
const SHARERS_MAX: u64 = 64;

/// Client that shares turns with others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Client {
    /// Process, with all its connections.
    Process(i32),
    /// Connection whose process is unknown.
    Connection(u64),
}

impl Client {
    /// Client of connection `id`.
    pub(crate) fn of(stream: &UnixStream, id: u64) -> Self {
        match Peer::of(stream) {
            Ok(Peer { process: process @ 1.., .. }) => Self::Process(process),
            _ => Self::Connection(id),
        }
    }
}

/// The turns of a server.
#[derive(Default)]
pub(crate) struct Parsing {
    queue: Mutex<Queue>,
    ended: Condvar,
}

/// Right to parse a text, until it is dropped.
pub(crate) struct Turn<'a>(&'a Parsing);

impl Parsing {
    /// Waits for a client's turn to parse a text of some cost.
    pub(crate) fn turn(&self, client: Client, cost: usize) -> Turn<'_> {
        let mut queue = self.lock();
        let place = queue.enter(client, cost);
        let waited = self.ended.wait_while(queue, |queue| !queue.begin(place));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        Turn(self)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().is_busy = false;
        self.0.ended.notify_all();
    }
}

/// Place of a text in the queue; the least is next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    /// Virtual time of the turn's end.
    end: u64,
    /// Number of the text: among equals, the first comes first.
    number: u64,
}

#[derive(Default)]
struct Queue {
    /// Virtual time.
    now: u64,
    is_busy: bool,
    /// Costs of the texts that wait.
    waiting: BTreeMap<Place, u64>,
    /// Ends of the last turns of the clients that share the present time: where they are after `now`.
    ends: BTreeMap<Client, u64>,
    /// Number of the next text.
    number: u64,
}

impl Queue {
    /// Adds a client's text.
    fn enter(&mut self, client: Client, cost: usize) -> Place {
        let begin = self.ends.get(&client).copied().unwrap_or(0).max(self.now);
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let end = begin.saturating_add(cost);
        let place = Place { end, number: self.number };
        self.number = self.number.wrapping_add(1);
        self.ends.insert(client, end);
        self.waiting.insert(place, cost);
        place
    }

    /// Begins the turn of a place, if it is next and no other one is under way.
    fn begin(&mut self, place: Place) -> bool {
        let is_next = self.waiting.first_key_value().is_some_and(|(next, _)| *next == place);
        if self.is_busy || !is_next {
            return false;
        }
        let cost = self.waiting.pop_first().map_or(0, |(_, cost)| cost);
        let sharers = u64::try_from(self.ends.len()).unwrap_or(u64::MAX).min(SHARERS_MAX);
        self.is_busy = true;
        self.now = self.now.saturating_add(cost.checked_div(sharers).unwrap_or(cost));
        self.ends.retain(|_, end| *end > self.now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    impl Queue {
        /// Makes the turn that is next.
        fn step(&mut self) -> Place {
            self.is_busy = false;
            let next = *self.waiting.first_key_value().unwrap().0;
            assert!(self.begin(next));
            next
        }

        /// Number of turns up to that of `place`.
        fn steps_until(&mut self, place: Place) -> usize {
            (1..1000).find(|_| self.step() == place).unwrap()
        }
    }

    #[test]
    fn a_turn_begins_after_the_one_before_it_has_ended() {
        let mut queue = Queue::default();
        let [first, second] = [1, 2].map(|process| queue.enter(Client::Process(process), MIB));
        assert!(!queue.begin(second), "it is not next");
        assert!(queue.begin(first));
        assert!(!queue.begin(second), "the first one has not ended");
        queue.is_busy = false;
        assert!(queue.begin(second));
    }

    #[test]
    fn a_small_text_waits_for_none_of_many_clients_with_large_ones() {
        let mut queue = Queue::default();
        for process in 0..64 {
            queue.enter(Client::Process(process), 32 * MIB);
        }
        queue.step();
        let small = [0; 3].map(|_| queue.enter(Client::Connection(1), MIB));
        assert_eq!(queue.steps_until(small[2]), 3);
        (0..40).for_each(|_| _ = queue.step());
        let small = queue.enter(Client::Connection(1), MIB);
        assert_eq!(queue.steps_until(small), 1);
    }

    #[test]
    fn a_large_text_waits_for_a_bounded_number_of_small_ones_of_ever_new_clients() {
        let mut queue = Queue::default();
        let large = queue.enter(Client::Process(1), 32 * MIB);
        let steps = (1..100_000).find(|&number| {
            queue.enter(Client::Connection(number), MIB);
            queue.step() == large
        });
        assert!(steps.unwrap() <= 32 * SHARERS_MAX, "{steps:?} turns");
    }

    #[test]
    fn a_client_is_its_process() {
        let (stream, _peer) = UnixStream::pair().unwrap();
        let process = i32::try_from(std::process::id()).unwrap();
        assert_eq!(Client::of(&stream, 5), Client::Process(process));
    }

    #[test]
    fn the_connections_of_one_process_share_its_turns() {
        let mut queue = Queue::default();
        let of_one = [0; 63].map(|_| queue.enter(Client::Process(1), 32 * MIB));
        queue.step();
        let other = queue.enter(Client::Process(2), 32 * MIB);
        assert_eq!(queue.steps_until(other), 2, "one text of the process goes first: it came before");
        assert_eq!(queue.step(), of_one[2]);
    }

    #[test]
    fn a_client_that_asks_again_and_again_passes_no_one() {
        let mut queue = Queue::default();
        let patient = queue.enter(Client::Process(1), 32 * MIB);
        for _ in 0..33 {
            queue.enter(Client::Process(2), MIB);
        }
        let steps = queue.steps_until(patient);
        assert!((32..=33).contains(&steps), "{steps} turns");
    }

    #[test]
    fn clients_are_forgotten() {
        let mut queue = Queue::default();
        for connection in 0..1000 {
            queue.enter(Client::Connection(connection), MIB);
            queue.step();
        }
        assert!(queue.ends.is_empty(), "{:?}", queue.ends);
    }

    #[test]
    fn texts_are_parsed_one_at_a_time_and_a_turn_ends_with_its_holder() {
        let parsing = Parsing::default();
        let parsed = Mutex::new(0);
        std::thread::scope(|scope| {
            for process in 0..8 {
                let (parsing, parsed) = (&parsing, &parsed);
                scope.spawn(move || {
                    let turn = parsing.turn(Client::Process(process), MIB);
                    *parsed.try_lock().unwrap() += 1;
                    drop(turn);
                });
            }
        });
        assert_eq!(*parsed.lock().unwrap(), 8);
    }
}

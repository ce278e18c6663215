//! Table of the open connections, bounded: a new client is served, however many others are silent.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Highest number of connections that are served at a time.
pub const SERVED_MAX: usize = 64;

/// Highest number of connections with those that were cut off and whose threads have not ended yet.
const OPEN_MAX: usize = 2 * SERVED_MAX;

/// Longest wait for the threads of connections that were cut off.
const WAIT: Duration = Duration::from_millis(500);

/// Open connections.
#[derive(Clone, Debug, Default)]
pub struct OpenConnections(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Connections, oldest first.
    open: Mutex<Vec<Open>>,
    /// Signals that a connection has ended.
    ended: Condvar,
}

#[derive(Debug)]
struct Open {
    stream: Arc<TcpStream>,
    is_cut_off: bool,
}

/// Entry of one connection; dropping it removes the entry.
#[derive(Debug)]
pub struct Entry {
    /// Connection.
    pub stream: Arc<TcpStream>,
    table: OpenConnections,
}

impl OpenConnections {
    /// Adds a connection. Cuts off the oldest one if too many are served. Refuses the new one if the threads of
    /// those that were cut off do not end.
    #[must_use]
    pub fn enter(&self, stream: TcpStream) -> Option<Entry> {
        let stream = Arc::new(stream);
        let open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.ended.wait_timeout_while(open, WAIT, |open| open.len() >= OPEN_MAX);
        let (mut open, wait) = waited.unwrap_or_else(PoisonError::into_inner);
        if wait.timed_out() {
            return None;
        }
        if open.iter().filter(|one| !one.is_cut_off).count() >= SERVED_MAX
            && let Some(oldest) = open.iter_mut().find(|one| !one.is_cut_off)
        {
            oldest.is_cut_off = true;
            // Its thread wakes up and ends.
            let _ = oldest.stream.shutdown(Shutdown::Both);
        }
        open.push(Open { stream: Arc::clone(&stream), is_cut_off: false });
        Some(Entry { stream, table: self.clone() })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.table.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| !Arc::ptr_eq(&other.stream, &self.stream));
        self.table.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn streams(count: usize) -> Vec<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| {
            let stream = TcpStream::connect(address).unwrap();
            drop(listener.accept().unwrap());
            stream
        };
        (0..count).map(connect).collect()
    }

    fn is_cut_off(entry: &Entry) -> bool {
        let open = entry.table.0.open.lock().unwrap();
        open.iter().any(|one| Arc::ptr_eq(&one.stream, &entry.stream) && one.is_cut_off)
    }

    #[test]
    fn the_oldest_connection_makes_room_for_a_new_one() {
        let table = OpenConnections::default();
        let entries: Vec<_> =
            streams(SERVED_MAX + 1).into_iter().map(|one| table.enter(one).unwrap()).collect();
        assert!(is_cut_off(&entries[0]));
        assert!(!is_cut_off(&entries[1]));
        assert!(!is_cut_off(&entries[SERVED_MAX]));
    }

    #[test]
    fn connections_that_do_not_end_are_bounded_and_their_end_makes_room() {
        let table = OpenConnections::default();
        let mut entries: Vec<_> =
            streams(OPEN_MAX).into_iter().map(|one| table.enter(one).unwrap()).collect();
        let mut more = streams(2);
        assert!(table.enter(more.remove(0)).is_none());
        entries.remove(0);
        assert!(table.enter(more.remove(0)).is_some());
    }
}

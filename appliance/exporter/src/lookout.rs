//! Looks at the sled, seldom enough whatever the number of clients.

use luge_observe::{Observer, Snapshot, Socket, SourceError};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Age up to which a look answers other clients too.
const FRESH: Duration = Duration::from_millis(500);

/// Result of a look at the sled.
#[derive(Debug)]
pub struct Look {
    /// Time of the look, in milliseconds since the start of the exporter.
    pub at_ms: u64,
    /// The sled, or a sentence why it does not answer.
    pub sled: Result<Snapshot, String>,
}

/// Shared access to the sled.
pub struct Lookout {
    began: Instant,
    state: Mutex<State>,
}

struct State {
    observer: Observer,
    last: Option<Arc<Look>>,
}

impl Lookout {
    /// Access by the RPC socket at `path`, which need not be there yet.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn new(path: &Path) -> io::Result<Self> {
        let socket = || Box::new(Socket::new(path.to_owned()));
        let state = State { observer: Observer::start(socket(), socket())?, last: None };
        Ok(Self { began: Instant::now(), state: Mutex::new(state) })
    }

    /// Looks at the sled, or returns a look that is fresh.
    #[must_use]
    pub fn look(&self) -> Arc<Look> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.began.elapsed();
        if let Some(last) = &state.last
            && now.saturating_sub(Duration::from_millis(last.at_ms)) < FRESH
        {
            return Arc::clone(last);
        }
        let sled = take(&mut state.observer).map_err(|error| error.to_string());
        // Clients that waited for a slow answer have it, rather than ask again.
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let look = Arc::new(Look { at_ms, sled });
        state.last = Some(Arc::clone(&look));
        look
    }
}

/// Takes a snapshot. A connection that turns out to be closed, as after a restart of Luge, is made again; a slow
/// Luge is not asked twice.
fn take(observer: &mut Observer) -> Result<Snapshot, SourceError> {
    let began = Instant::now();
    match observer.look() {
        Err(SourceError::Away(_)) if began.elapsed() < FRESH => observer.look(),
        taken => taken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_ask_at_once_share_a_look() {
        let lookout = Lookout::new(Path::new("/no/luge/here")).unwrap();
        let first = lookout.look();
        assert!(Arc::ptr_eq(&first, &lookout.look()));
        assert!(first.sled.as_ref().unwrap_err().contains("/no/luge/here"));
    }
}

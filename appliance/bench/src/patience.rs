//! Ends a conversation in which the other side says nothing: `vhost` waits for ever.

use crate::BenchError;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a whole conversation may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How often it is asked whether to go on.
const LOOK: Duration = Duration::from_millis(20);

/// Does `talk`, and shuts `stream`, which it waits for, when that takes too long or `stop` is set.
///
/// # Errors
/// Those of `talk`; what was the matter, as a sentence, where it was given up.
pub(crate) fn with_limit<T>(
    stream: &UnixStream,
    stop: &AtomicBool,
    talk: impl FnOnce() -> Result<T, BenchError>,
) -> Result<Result<T, BenchError>, &'static str> {
    std::thread::scope(|threads| {
        let (talking, ended) = channel();
        let watch = threads.spawn(move || {
            let reason = wait(&ended, stop)?;
            // It fails only where the other side was faster.
            let _ = stream.shutdown(Shutdown::Both);
            Some(reason)
        });
        let result = talk();
        drop(talking);
        match watch.join() {
            Ok(Some(reason)) => Err(reason),
            _ => Ok(result),
        }
    })
}

/// Why it is to be given up; none if it has ended.
fn wait(ended: &Receiver<()>, stop: &AtomicBool) -> Option<&'static str> {
    let start = Instant::now();
    while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        if stop.load(Relaxed) {
            return Some("it was not waited for any longer");
        }
        if start.elapsed() > LIMIT {
            return Some("no answer within 10 s: is it no vhost-user server, or busy with another client?");
        }
    }
    None
}

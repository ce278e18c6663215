//! A time limit for conversations: the crate `vhost` waits for ever for an answer.

use crate::error::BenchError;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Time limit of a whole conversation.
const LIMIT: Duration = Duration::from_secs(10);
/// Time between two looks at whether to go on.
const LOOK: Duration = Duration::from_millis(20);

/// Runs `talk`, and shuts `stream` down, which `talk` waits for, when that takes too long or `stop` is set.
///
/// # Errors
/// The reason, as a sentence, where it was given up; inside of it the errors of `talk`.
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

/// Waits for the end of a conversation; returns the reason if it is given up.
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

//! Connections that wait until they are served.

use luge_core::{Descriptors, Promise, TooFewDescriptors};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionread;
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The most connections that wait.
const WAITING_MAX: usize = 16;

/// Connections that wait, in the order in which they came.
#[derive(Default)]
pub(crate) struct Waiting(VecDeque<Connection>);

/// A connection that waits.
struct Connection {
    stream: UnixStream,
    /// Promise of the connection's file descriptor; the endpoint's own serves for the first.
    _descriptor: Option<Promise>,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn streams(&self) -> impl Iterator<Item = &UnixStream> {
        self.0.iter().map(|connection| &connection.stream)
    }

    /// Drops those whose peer has hung up.
    pub(crate) fn drop_the_gone(&mut self) {
        self.0.retain(|other| !has_hung_up(&other.stream));
    }

    /// Adds a connection. Where too many wait, or no file descriptor is left for another, it takes the place of one
    /// that has said nothing, or else is dropped.
    pub(crate) fn add(&mut self, stream: UnixStream, descriptors: &Arc<Descriptors>) {
        let promised = self.promise(descriptors);
        if self.0.len() >= WAITING_MAX || promised.is_err() {
            let silent = self.streams().position(|other| !has_spoken(other));
            let Some(silent) = silent else { return };
            drop(self.0.remove(silent));
        }
        let Ok(descriptor) = promised.or_else(|_| self.promise(descriptors)) else { return };
        self.0.push_back(Connection { stream, _descriptor: descriptor });
    }

    fn promise(&self, descriptors: &Arc<Descriptors>) -> Result<Option<Promise>, TooFewDescriptors> {
        let is_first = self.0.is_empty();
        (!is_first).then(|| descriptors.promise(1)).transpose()
    }

    /// Whether one of them has spoken.
    pub(crate) fn has_speaker(&self) -> bool {
        self.streams().any(has_spoken)
    }

    /// Takes the first that has spoken.
    pub(crate) fn take_speaker(&mut self) -> Option<UnixStream> {
        let at = self.streams().position(has_spoken)?;
        self.0.remove(at).map(|connection| connection.stream)
    }

    /// Takes the first that has spoken, or else the first.
    pub(crate) fn take(&mut self) -> Option<UnixStream> {
        self.take_speaker().or_else(|| self.0.pop_front().map(|connection| connection.stream))
    }
}

/// Whether a connection that waits has sent anything.
fn has_spoken(stream: &UnixStream) -> bool {
    ioctl_fionread(stream).is_ok_and(|bytes| bytes > 0)
}

/// Whether the other end of a connection is closed.
pub(crate) fn has_hung_up(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

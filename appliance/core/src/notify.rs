//! The eventfds between a guest and a core.
//!
//! They come from a front end that is not trusted: it keeps them too, may read them, fill
//! them, change their flags, at any moment. So a core
//! - never reads a [`Kick`]: it watches for edges;
//! - never writes a [`Call`], which would wait for a front end that has filled the counter and
//!   cleared `O_NONBLOCK`. It completes a no-op on an io_uring that has the eventfd
//!   registered: the kernel then raises the counter, and a full one stays full. This costs
//!   300 ns more than a write would, once per batch that interrupts.
//!
//! Invariant: both are eventfds. Any other file could make a core wait inside the kernel.

#![expect(unsafe_code, reason = "io_uring entries are pushed unsafely, for they may carry pointers")]

use io_uring::{IoUring, opcode};
use rustix::event::epoll;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, readlink};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use thiserror::Error;

/// Error of a file descriptor that does not serve for notifications.
#[derive(Debug, Error)]
pub enum NotifyError {
    /// Another kind of file.
    #[error("the file descriptor for notifications is not an eventfd")]
    NotAnEventfd,
    /// The kernel refused.
    #[error("the eventfd cannot be used: {0}")]
    System(#[from] rustix::io::Errno),
}

/// Eventfd from a guest to a core: something is in the ring.
#[derive(Debug)]
pub struct Kick(OwnedFd);

/// Eventfd from a core to a guest: something was used.
pub struct Call {
    // Dropped before the file.
    way: Way,
    file: OwnedFd,
    /// Whether a signal has not reached the eventfd: the kernel did not take it.
    owed: bool,
}

/// Way to raise the counter.
enum Way {
    /// A completion on an io_uring that has the eventfd registered: never waits.
    Completion(Box<IoUring>),
    /// A write, on hosts that forbid io_uring: waits if the front end means harm.
    Write,
}

impl Kick {
    /// Takes a file descriptor of a front end.
    ///
    /// # Errors
    /// [`NotifyError`] if it is no eventfd.
    pub fn new(file: OwnedFd) -> Result<Self, NotifyError> {
        checked(file).map(Self)
    }

    pub(crate) fn watch(&self, poll: impl AsFd, key: u64) -> Result<(), NotifyError> {
        let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
        Ok(epoll::add(poll, &self.0, epoll::EventData::new_u64(key), edges)?)
    }

    pub(crate) fn unwatch(&self, poll: impl AsFd) {
        // It fails only for a kick that was never watched.
        let _ = epoll::delete(poll, &self.0);
    }
}

impl AsFd for Kick {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Call {
    /// Takes a file descriptor of a front end.
    ///
    /// # Errors
    /// [`NotifyError`] if it is no eventfd, or no descriptor is left for its io_uring.
    pub fn new(file: OwnedFd) -> Result<Self, NotifyError> {
        let file = checked(file)?;
        let ring = IoUring::new(2).and_then(|ring| {
            ring.submitter().register_eventfd(file.as_raw_fd())?;
            Ok(ring)
        });
        let way = match ring.map_err(|error| Errno::from_io_error(&error)) {
            Ok(ring) => Way::Completion(Box::new(ring)),
            // Out of descriptors now, which is no reason to have a core wait later.
            Err(Some(error @ (Errno::MFILE | Errno::NFILE))) => return Err(error.into()),
            Err(_) => Way::Write,
        };
        Ok(Self { way, file, owed: false })
    }

    /// Interrupts the guest. One system call.
    #[inline]
    pub fn signal(&mut self) {
        self.owed = true;
        self.retry();
    }

    /// Repeats a signal that the kernel did not take: there may be no next one. Called every turn.
    #[inline]
    pub fn retry(&mut self) {
        if self.owed {
            self.owed = !self.way.raise(&self.file);
        }
    }

    /// Whether a signal has not reached the eventfd.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.owed
    }
}

impl From<Kick> for OwnedFd {
    fn from(kick: Kick) -> Self {
        kick.0
    }
}

impl From<Call> for OwnedFd {
    fn from(call: Call) -> Self {
        call.file
    }
}

impl Way {
    /// Raises the counter; returns whether it is raised, or as high as it can be. It is not where the kernel
    /// has no memory at the moment, or was interrupted.
    fn raise(&mut self, file: &OwnedFd) -> bool {
        match self {
            Self::Completion(ring) => complete(ring),
            Self::Write => rustix::io::write(file, &1u64.to_ne_bytes()) != Err(Errno::INTR),
        }
    }
}

/// Completes a no-op, which raises the eventfd of its ring; returns whether the kernel has taken it.
fn complete(ring: &mut IoUring) -> bool {
    // One that was not taken the last time serves for both.
    if ring.submission().is_empty() {
        let nothing = opcode::Nop::new().build();
        // SAFETY: a no-op refers to no memory. The submission queue is empty, so there is room.
        let _ = unsafe { ring.submission().push(&nothing) };
    }
    let taken = ring.submit().is_ok_and(|count| count > 0);
    ring.completion().for_each(drop);
    taken
}

fn checked(file: OwnedFd) -> Result<OwnedFd, NotifyError> {
    let kind = readlink(format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new())?;
    if kind.to_bytes() != b"anon_inode:[eventfd]" {
        return Err(NotifyError::NotAnEventfd);
    }
    fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::NONBLOCK)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};

    #[test]
    fn only_eventfds_are_taken() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(matches!(Kick::new(file.into()), Err(NotifyError::NotAnEventfd)));
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(matches!(Call::new(reader.into()), Err(NotifyError::NotAnEventfd)));
        assert!(Kick::new(eventfd(0, EventfdFlags::empty()).unwrap()).is_ok());
    }

    #[test]
    fn a_call_counts_once_per_signal() {
        let file = eventfd(0, EventfdFlags::empty()).unwrap();
        let mut call = Call::new(file.try_clone().unwrap()).unwrap();
        (0..5).for_each(|_| call.signal());
        let mut count = [0; 8];
        rustix::io::read(&file, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 5);
    }

    #[test]
    fn a_call_gives_its_eventfd_back_for_another_call() {
        let file = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let mut first = Call::new(file.try_clone().unwrap()).unwrap();
        first.signal();
        let mut second = Call::new(first.into()).unwrap();
        second.signal();
        assert_eq!(count(&file), 2);
    }

    fn count(file: &OwnedFd) -> u64 {
        let mut count = [0; 8];
        let read = rustix::io::read(file, &mut count);
        if read == Err(Errno::AGAIN) { 0 } else { u64::from_ne_bytes(count) }
    }

    #[test]
    fn a_signal_that_the_kernel_did_not_take_is_repeated() {
        let file = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        // A ring that is disabled takes nothing.
        let ring = IoUring::builder().setup_r_disabled().build(2).unwrap();
        ring.submitter().register_eventfd(file.as_raw_fd()).unwrap();
        let way = Way::Completion(Box::new(ring));
        let mut call = Call { way, file: file.try_clone().unwrap(), owed: false };
        (0..5).for_each(|_| call.signal());
        assert!(call.is_owed());
        assert_eq!(count(&file), 0);
        let Way::Completion(ring) = &call.way else { panic!("it is a completion") };
        ring.submitter().register_enable_rings().unwrap();
        call.retry();
        assert!(!call.is_owed());
        assert_eq!(count(&file), 1);
        call.retry();
        assert_eq!(count(&file), 0, "once");
    }

    #[test]
    fn a_call_does_not_wait_for_a_front_end_that_filled_the_counter_and_made_it_blocking() {
        let file = eventfd(0, EventfdFlags::empty()).unwrap();
        let mut call = Call::new(file.try_clone().unwrap()).unwrap();
        rustix::io::write(&file, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        fcntl_setfl(&file, fcntl_getfl(&file).unwrap() - OFlags::NONBLOCK).unwrap();
        (0..5).for_each(|_| call.signal());
    }
}

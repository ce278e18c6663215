//! The eventfds between a guest and a core.
//!
//! They come from a front end that is not trusted: it keeps them too, may read them, fill
//! them, change their flags. So a core never reads a [`Kick`] (it watches edges), and a
//! [`Call`] that would block is a call the guest has not yet taken, which is as good.
//!
//! Invariant: both are eventfds. Any other file could make a core wait inside the kernel.

use rustix::event::epoll;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, readlink};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use thiserror::Error;

/// Why a file descriptor does not serve for notifications.
#[derive(Debug, Error)]
pub enum NotifyError {
    /// It is some other kind of file.
    #[error("the file descriptor for notifications is not an eventfd")]
    NotAnEventfd,
    /// The kernel refused.
    #[error("the eventfd cannot be used: {0}")]
    System(#[from] rustix::io::Errno),
}

/// Guest to core: something is in the ring.
#[derive(Debug)]
pub struct Kick(OwnedFd);

/// Core to guest: something was used.
#[derive(Debug)]
pub struct Call(OwnedFd);

impl Kick {
    /// Checks what the front end sent.
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
    /// Checks what the front end sent.
    ///
    /// # Errors
    /// [`NotifyError`] if it is no eventfd.
    pub fn new(file: OwnedFd) -> Result<Self, NotifyError> {
        checked(file).map(Self)
    }

    /// Interrupts the guest. One system call.
    #[inline]
    pub fn signal(&self) {
        // A counter that is full is an interrupt that is pending: nothing is lost.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
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
    fn a_call_whose_counter_is_full_does_not_wait() {
        let file = eventfd(0, EventfdFlags::empty()).unwrap();
        rustix::io::write(&file, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        Call::new(file).unwrap().signal();
    }
}

//! Socket of a server: bytes and file descriptors, with a time limit for each transfer.
//!
//! Invariants
//! - No call lasts longer than its deadline, whatever the server does.
//! - Descriptors that nobody asked for are closed.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg,
    sendmsg, shutdown, socket_with,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::path::Path;
use std::time::{Duration, Instant};

/// The most descriptors of one message.
pub const FDS_MAX: usize = 8;

/// Pause between two attempts to connect to a server whose queue of clients is full.
const CONNECT_PAUSE: Duration = Duration::from_millis(5);

/// Socket that is connected to a server.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Connects to the server that listens at `path`.
    ///
    /// # Errors
    /// `WouldBlock` where the server accepts nobody until the deadline, else the kernel's.
    pub fn connect(path: &Path, deadline: Instant) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let address = SocketAddrUnix::new(path)?;
        loop {
            match connect(&socket, &address) {
                Ok(()) => return Ok(Self(socket)),
                Err(Errno::AGAIN) if Instant::now() < deadline => std::thread::sleep(CONNECT_PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The descriptor.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Sends all of `bytes`, with `fds` at the first of them.
    ///
    /// # Errors
    /// `TimedOut`, or the kernel's.
    pub fn send(&self, mut bytes: &[u8], mut fds: &[BorrowedFd<'_>], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, flags) {
                Ok(sent) => {
                    bytes = bytes.get(sent..).unwrap_or_default();
                    fds = &[];
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, deadline)?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Receives as many bytes as `bytes` has, and adds descriptors that come with them to `fds`.
    ///
    /// # Errors
    /// `TimedOut`; `UnexpectedEof` where the server has closed the connection; `InvalidData` where more than
    /// [`FDS_MAX`] descriptors come; else the kernel's.
    pub fn receive(&self, bytes: &mut [u8], fds: &mut Vec<OwnedFd>, deadline: Instant) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            match recvmsg(&self.0, &mut [IoSliceMut::new(rest)], &mut control, flags) {
                Ok(message) if message.flags.contains(ReturnFlags::CTRUNC) => return Err(too_many()),
                Ok(message) if message.bytes == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(message) => {
                    done = done.saturating_add(message.bytes);
                    fds.extend(control.drain().flat_map(descriptors));
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, deadline)?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if fds.len() > FDS_MAX { Err(too_many()) } else { Ok(()) }
    }

    /// Tells the server that nothing more comes.
    pub fn finish(&self) {
        // It fails only if the server has gone already.
        let _ = shutdown(&self.0, Shutdown::Write);
    }

    /// Whether the server has closed the connection, or has ended.
    pub fn is_closed_by_server(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::empty())];
        let polled = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        polled.is_ok() && fds.iter().any(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR))
    }

    /// Waits until the socket is ready.
    fn wait(&self, ready: PollFlags, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::from_borrowed_fd(self.0.as_fd(), ready)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn descriptors(message: RecvAncillaryMessage<'_>) -> Vec<OwnedFd> {
    match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
        _ => Vec::new(),
    }
}

fn too_many() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "more descriptors in a message than any has")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::socketpair;
    use std::os::fd::AsFd;

    fn pair() -> [Socket; 2] {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        [Socket(a), Socket(b)]
    }

    fn in_ms(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    #[test]
    fn bytes_arrive_with_their_descriptors_however_they_are_cut() {
        let [ours, theirs] = pair();
        let file = std::fs::File::open("/dev/null").unwrap();
        theirs.send(&[1, 2], &[file.as_fd()], in_ms(5000)).unwrap();
        theirs.send(&[3], &[file.as_fd()], in_ms(5000)).unwrap();
        let (mut bytes, mut fds) = ([0; 3], Vec::new());
        ours.receive(&mut bytes, &mut fds, in_ms(5000)).unwrap();
        assert_eq!(bytes, [1, 2, 3]);
        assert_eq!(fds.len(), 2);
    }

    #[test]
    fn a_silent_server_and_one_that_takes_nothing_are_waited_for_until_the_deadline() {
        let [ours, theirs] = pair();
        let error = ours.receive(&mut [0], &mut Vec::new(), in_ms(5)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = ours.send(&vec![0; 8 << 20], &[], in_ms(5)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }

    #[test]
    fn a_server_has_closed_the_connection_when_its_own_end_is_gone_and_not_before() {
        let [ours, theirs] = pair();
        ours.finish();
        assert!(!ours.is_closed_by_server());
        drop(theirs);
        assert!(ours.is_closed_by_server());
        let error = ours.receive(&mut [0], &mut Vec::new(), in_ms(5000)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn more_descriptors_than_a_message_may_have_are_refused() {
        let [ours, theirs] = pair();
        let file = std::fs::File::open("/dev/null").unwrap();
        for _ in 0..2 {
            theirs.send(&[1], &[file.as_fd(); FDS_MAX], in_ms(5000)).unwrap();
        }
        let error = ours.receive(&mut [0; 2], &mut Vec::new(), in_ms(5000)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

//! Messages from a client's socket, however its bytes come.
//!
//! Invariants
//! - No more is read than the message needs that is being received, so that files belong to the right one.
//! - The buffer grows with what has come, not with what a header promises, and no further than the longest message.
//! - A message has at most [`FILES_MAX`] files; the kernel closes others.
//!
//! Not here: waiting; a message that is not complete stays here until more has come.

use super::message::{Files, Message};
use luge_spec::vfio_user::Header;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use std::io::IoSliceMut;
use std::mem::{MaybeUninit, take};
use std::os::unix::net::UnixStream;
use thiserror::Error;
use zerocopy::FromBytes;

/// Most files of a message, as every client is told.
pub(super) const FILES_MAX: usize = 16;

/// Longest message in bytes: a header, a description, and the data of a write.
pub(super) const MESSAGE_BYTES_MAX: usize = HEADER_BYTES + 64 + crate::DATA_BYTES_MAX as usize;

/// Most bytes that are read at once.
const READ_BYTES_MAX: usize = 4096;

const HEADER_BYTES: usize = size_of::<Header>();

/// State of the stream after a look at it.
pub(super) enum Received {
    /// A whole message.
    Message(Message),
    /// A part of a message, or nothing.
    Incomplete,
    /// The client has left.
    End,
}

/// Header that no message has.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a message of {0} bytes is not possible: {HEADER_BYTES} to {MESSAGE_BYTES_MAX} are")]
pub(super) struct BadSize(u32);

/// A message that is being received.
#[derive(Default)]
pub(super) struct Receiver {
    bytes: Vec<u8>,
    files: Files,
}

impl Receiver {
    /// Reads what has come, up to the end of a message. Does not wait.
    ///
    /// # Errors
    /// [`BadSize`]: the place of the next message is not known.
    pub(super) fn receive(&mut self, socket: &UnixStream) -> Result<Received, BadSize> {
        loop {
            let whole = self.whole()?;
            if self.bytes.len() == whole {
                return Ok(self.take_message());
            }
            match self.read(socket, whole.saturating_sub(self.bytes.len())) {
                Ok(0) => return Ok(Received::End),
                Ok(_) => {}
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Received::Incomplete),
                Err(_) => return Ok(Received::End),
            }
        }
    }

    /// Length of the message as far as it is known: that of a header before the header has come.
    fn whole(&self) -> Result<usize, BadSize> {
        let Ok((header, _)) = Header::ref_from_prefix(&self.bytes) else { return Ok(HEADER_BYTES) };
        let size = header.size.get();
        let whole = usize::try_from(size).unwrap_or(usize::MAX);
        if (HEADER_BYTES..=MESSAGE_BYTES_MAX).contains(&whole) { Ok(whole) } else { Err(BadSize(size)) }
    }

    /// Reads at most `len` bytes, and their files; returns how many bytes.
    fn read(&mut self, socket: &UnixStream, len: usize) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let before = self.bytes.len();
        self.bytes.resize(before.saturating_add(len.min(READ_BYTES_MAX)), 0);
        let free = self.bytes.get_mut(before..).unwrap_or_default();
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let read = recvmsg(socket, &mut [IoSliceMut::new(free)], &mut ancillary, flags);
        let bytes = read.as_ref().map_or(0, |read| read.bytes);
        self.bytes.truncate(before.saturating_add(bytes));
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.list.extend(files);
            }
        }
        let is_cut = read.as_ref().is_ok_and(|read| read.flags.contains(ReturnFlags::CTRUNC));
        if is_cut || self.files.list.len() > FILES_MAX {
            self.files.list.clear();
            self.files.are_too_many = true;
        }
        read.map(|_| bytes)
    }

    fn take_message(&mut self) -> Received {
        let (bytes, files) = (take(&mut self.bytes), take(&mut self.files));
        match Header::read_from_prefix(&bytes) {
            Ok((header, payload)) => Received::Message(Message { header, payload: payload.to_vec(), files }),
            // It is longer than a header.
            Err(_) => Received::Incomplete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_spec::vfio_user::{Command, MessageFlags};
    use std::io::Write;
    use zerocopy::IntoBytes;

    fn header(size: u32) -> Header {
        Header {
            id: 7.into(),
            command: Command::GET_INFO,
            size: size.into(),
            flags: MessageFlags::COMMAND,
            error: 0.into(),
        }
    }

    #[test]
    fn a_message_that_comes_byte_by_byte_is_whole_at_its_end_and_not_before() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let bytes = [header(20).as_bytes(), b"abcd", header(16).as_bytes()].concat();
        let mut receiver = Receiver::default();
        let mut whole = Vec::new();
        for (at, byte) in bytes.iter().enumerate() {
            assert!(matches!(receiver.receive(&server), Ok(Received::Incomplete)));
            client.write_all(&[*byte]).unwrap();
            if let Ok(Received::Message(message)) = receiver.receive(&server) {
                whole.push((at, message.payload));
            }
        }
        assert_eq!(whole, [(19, b"abcd".to_vec()), (35, Vec::new())]);
    }

    #[test]
    fn messages_that_come_together_are_told_apart() {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.write_all(&[header(18).as_bytes(), b"ab", header(16).as_bytes()].concat()).unwrap();
        drop(client);
        let mut receiver = Receiver::default();
        assert!(
            matches!(receiver.receive(&server), Ok(Received::Message(message)) if message.payload == b"ab")
        );
        assert!(
            matches!(receiver.receive(&server), Ok(Received::Message(message)) if message.payload.is_empty())
        );
        assert!(matches!(receiver.receive(&server), Ok(Received::End)));
    }

    #[test]
    fn a_size_that_no_message_has_is_refused_before_anything_is_allocated() {
        for size in [0, 15, u32::try_from(MESSAGE_BYTES_MAX).unwrap() + 1, u32::MAX] {
            let (mut client, server) = UnixStream::pair().unwrap();
            client.write_all(header(size).as_bytes()).unwrap();
            let mut receiver = Receiver::default();
            assert_eq!(receiver.receive(&server).err(), Some(BadSize(size)));
            assert!(receiver.bytes.capacity() < 100);
        }
    }

    #[test]
    fn a_promise_of_many_bytes_allocates_little() {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.write_all(header(60_000).as_bytes()).unwrap();
        let mut receiver = Receiver::default();
        assert!(matches!(receiver.receive(&server), Ok(Received::Incomplete)));
        assert!(receiver.bytes.capacity() <= 2 * READ_BYTES_MAX);
    }
}

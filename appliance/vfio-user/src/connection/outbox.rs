//! The reply that is on its way to a client.
//!
//! Invariants
//! - A reply goes out in one message of the kernel, with its file, where the client's socket has room for it.
//! - There is one reply at a time: nothing more is read from a client that does not take its replies.

use super::message::Reply;
use luge_spec::vfio_user::{Command, DmaUnmap, Header, MessageFlags};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Reply that is on its way.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    file: Option<Arc<OwnedFd>>,
}

impl Outbox {
    /// Puts the reply to a message in.
    pub(super) fn put(&mut self, request: &Header, reply: Reply) {
        self.fill(request, MessageFlags::REPLY, None, reply);
    }

    /// Puts the reply to a message in that has failed: without payload, but for DMA_UNMAP. Clients of rust-vmm
    /// always wait for the payload of that (vfio_user, `src/lib.rs`, `dma_unmap`), and others have room for it.
    pub(super) fn put_error(&mut self, request: &Header, error: Errno) {
        let reply = match request.command {
            Command::DMA_UNMAP => Reply::of(&DmaUnmap::default()),
            _ => Reply::empty(),
        };
        self.fill(request, MessageFlags::ERROR_REPLY, Some(error), reply);
    }

    fn fill(&mut self, request: &Header, flags: MessageFlags, error: Option<Errno>, reply: Reply) {
        let size = size_of::<Header>().saturating_add(reply.payload.len());
        let header = Header {
            id: request.id,
            command: request.command,
            size: u32::try_from(size).unwrap_or(u32::MAX).into(),
            flags,
            error: error.map_or(0, |error| error.raw_os_error().cast_unsigned()).into(),
        };
        self.bytes = [header.as_bytes(), &reply.payload].concat();
        self.sent = 0;
        self.file = reply.file;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent >= self.bytes.len()
    }

    /// Sends what the socket has room for. Does not wait.
    ///
    /// # Errors
    /// The client has left.
    pub(super) fn flush(&mut self, socket: &UnixStream) -> Result<(), Errno> {
        while !self.is_empty() {
            match self.send(socket) {
                Ok(sent) => {
                    self.sent = self.sent.saturating_add(sent);
                    self.file = None;
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn send(&self, socket: &UnixStream) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let files = self.file.as_ref().map(|file| [file.as_fd()]);
        if let Some(files) = &files {
            ancillary.push(SendAncillaryMessage::ScmRights(files));
        }
        let left = self.bytes.get(self.sent..).unwrap_or_default();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        sendmsg(socket, &[IoSlice::new(left)], &mut ancillary, flags)
    }
}

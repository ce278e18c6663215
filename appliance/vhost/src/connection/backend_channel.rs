//! The channel for requests to a front end, as the message that brings it has it.
//!
//! The crate `vhost` checks that message and passes the channel on, but in a form that can send only some other
//! requests. So the message is looked at before the crate receives it: that makes a copy of the file.

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recv, recvmsg};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;

/// `VHOST_USER_SET_BACKEND_REQ_FD`.
const SET_BACKEND_REQ_FD: u32 = 21;

/// Bytes of the header of a message.
const HEADER_BYTES: usize = 12;

/// Copies the channel that the next message of a front end brings; none if it brings none. The message stays.
pub(super) fn peek(socket: &UnixStream) -> Option<UnixStream> {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut header = [0; HEADER_BYTES];
    let (_, count) = recv(socket, header.as_mut_slice(), flags).ok()?;
    let [code, ..] = *header.as_chunks().0 else { return None };
    if count < HEADER_BYTES || u32::from_ne_bytes(code) != SET_BACKEND_REQ_FD {
        return None;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [IoSliceMut::new(&mut header)], &mut control, flags).ok()?;
    let files = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    files?.next().map(UnixStream::from)
}

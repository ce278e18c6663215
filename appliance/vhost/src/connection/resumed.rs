//! A message handler of the crate `vhost` that goes on in the middle of a connection.
//!
//! The crate keeps in private which features were negotiated, and learns them by messages only. So the handler
//! begins with a socket pair, on which those messages are played to it, and gets the front end's socket then.

#![expect(unsafe_code, reason = "the descriptor of the handler gets another file")]

use super::front_end::FrontEnd;
use crate::state::Negotiated;
use rustix::io::{DupFlags, dup3};
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use vhost::vhost_user::{BackendReqHandler, Error};

/// Message types.
const GET_FEATURES: u32 = 1;
const SET_FEATURES: u32 = 2;
const SET_PROTOCOL_FEATURES: u32 = 16;

/// Flags of a message: version 1, and no acknowledgement.
const VERSION: u32 = 1;

/// Makes a handler of a connection with these features; `front_end` is told of them.
///
/// # Errors
/// The front end's object refuses the features, or no more files can be open.
pub(super) fn handler(
    socket: &UnixStream,
    front_end: Arc<Mutex<FrontEnd>>,
    negotiated: &Negotiated,
) -> Result<BackendReqHandler<Mutex<FrontEnd>>, Error> {
    let (ours, theirs) = UnixStream::pair().map_err(Error::SocketError)?;
    let mut handler = BackendReqHandler::from_stream(ours, front_end);
    for message in messages(negotiated) {
        (&theirs).write_all(&message).map_err(Error::SocketError)?;
        handler.handle_request()?;
    }
    replace_socket(&handler, socket).map_err(Error::SocketError)?;
    Ok(handler)
}

/// Messages that negotiate these features.
fn messages(negotiated: &Negotiated) -> Vec<Vec<u8>> {
    let Negotiated { has_asked, features, protocol_features } = *negotiated;
    let asked = has_asked.then(|| message(GET_FEATURES, &[]));
    let set = [(SET_FEATURES, features), (SET_PROTOCOL_FEATURES, protocol_features)];
    asked.into_iter().chain(set.map(|(code, value)| message(code, &value.to_ne_bytes()))).collect()
}

fn message(code: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [&[code, VERSION, len].map(u32::to_ne_bytes).concat(), payload].concat()
}

/// Makes the descriptor of a handler refer to another socket.
fn replace_socket(handler: &BackendReqHandler<Mutex<FrontEnd>>, socket: &UnixStream) -> io::Result<()> {
    // SAFETY: the handler keeps its descriptor open meanwhile, and nothing here closes it.
    let mut descriptor = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(handler.as_raw_fd()) });
    Ok(dup3(socket, &mut descriptor, DupFlags::CLOEXEC)?)
}

//! One front end, from its connection to its end.
//!
//! The crate `vhost` reads and checks messages; [`front_end`] carries them out, and [`vring`] keeps the rings.
//! All of it runs on the connection's own thread, and may block.

mod background;
mod costly;
mod front_end;
mod inflight;
mod memory;
mod resumed;
mod shared_now;
mod vring;

use crate::served::Served;
use crate::state::HandedOver;
use front_end::FrontEnd;
use luge_endpoint::{End, Incoming, Quit};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost::vhost_user::{BackendReqHandler, Error};

/// `VHOST_USER_GET_QUEUE_NUM`.
const GET_QUEUE_NUM: u32 = 17;
/// Version 1, and a reply.
const REPLY: u32 = 1 | 4;

/// Serves a front end until it leaves or is at fault, or is asked to quit. Its rings are stopped then, with
/// all requests answered that were taken from them, and its memory is unmapped.
pub(crate) fn serve(incoming: Incoming<HandedOver>, served: &Arc<Served>, quit: &Quit) -> End<HandedOver> {
    match Connection::open(incoming, served) {
        Ok(connection) => connection.serve(served, quit),
        Err(error) => fault(explained(error, served)),
    }
}

fn fault(error: Error) -> End<HandedOver> {
    End::Fault(error.to_string())
}

/// A connection that is served.
struct Connection {
    socket: Arc<UnixStream>,
    front_end: Arc<Mutex<FrontEnd>>,
    messages: BackendReqHandler<Mutex<FrontEnd>>,
}

impl Connection {
    fn open(incoming: Incoming<HandedOver>, served: &Arc<Served>) -> Result<Self, Error> {
        let socket = Arc::new(incoming.socket().try_clone().map_err(Error::SocketError)?);
        let front_end = Arc::new(Mutex::new(FrontEnd::new(served.clone(), socket.clone())));
        costly::watch(&front_end);
        let messages = match incoming {
            Incoming::New(stream) => BackendReqHandler::from_stream(stream, front_end.clone()),
            Incoming::Resumed(HandedOver { socket, state, files }) => {
                served.ledger.spoken();
                let messages = resumed::handler(&socket, front_end.clone(), &state.negotiated)?;
                let mut front_end = lock(&front_end);
                front_end.resume(&state, files).inspect_err(|_| front_end.finish())?;
                messages
            }
        };
        Ok(Self { socket, front_end, messages })
    }

    fn serve(mut self, served: &Served, quit: &Quit) -> End<HandedOver> {
        let end = loop {
            if self.wait(quit) == Next::Quit {
                quit.hear();
                return lock(&self.front_end).export().map_or_else(fault, End::HandedOver);
            }
            let answered = match self.messages.handle_request() {
                Err(error) if asks_for_queues(&error) => tell_queues(&self.socket, served.device.queues()),
                other => other,
            };
            match answered {
                Ok(()) => served.ledger.spoken(),
                Err(Error::Disconnected | Error::SocketBroken(_)) => break End::Left,
                Err(error) => break fault(explained(error, served)),
            }
        };
        let mut front_end = lock(&self.front_end);
        front_end.finish();
        // Where memory is missing it was we who ended the connection.
        front_end.intact().map_or_else(fault, |()| end)
    }

    /// Waits for the first bytes of a message, or for the signal to stop.
    fn wait(&self, quit: &Quit) -> Next {
        let mut fds = [PollFd::new(quit, PollFlags::IN), PollFd::new(&*self.socket, PollFlags::IN)];
        // It fails where it is interrupted or out of memory: the message is waited for where it is read.
        while poll(&mut fds, None) == Err(Errno::INTR) {}
        let [asked, _] = fds;
        if asked.revents().is_empty() { Next::Message } else { Next::Quit }
    }
}

/// Event that a connection waits for.
#[derive(PartialEq, Eq)]
enum Next {
    /// There is a message, or the front end has left.
    Message,
    /// The connection is to stop.
    Quit,
}

fn lock(front_end: &Mutex<FrontEnd>) -> MutexGuard<'_, FrontEnd> {
    front_end.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The fault of a message. A message loses its files if no file descriptors are left for them.
fn explained(error: Error, served: &Served) -> Error {
    match served.descriptors.exhaustion() {
        Some(shortage) => Error::ReqHandlerError(io::Error::other(shortage)),
        None => error,
    }
}

/// Whether the message that was refused is `GET_QUEUE_NUM` without `MQ` having been
/// negotiated. Some front ends send it anyway, and no other message needs `MQ`.
fn asks_for_queues(error: &Error) -> bool {
    matches!(error, Error::InactiveOperation(feature) if *feature == VhostUserProtocolFeatures::MQ)
}

fn tell_queues(mut answers: &UnixStream, queues: u16) -> Result<(), Error> {
    let header = [GET_QUEUE_NUM, REPLY, 8].map(u32::to_ne_bytes).concat();
    let message = [header, u64::from(queues).to_ne_bytes().to_vec()].concat();
    answers.write_all(&message).map_err(Error::SocketBroken)
}

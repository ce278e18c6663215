//! One front end, from its connection to its end.
//!
//! The crate `vhost` reads and checks messages; [`front_end`] carries them out, and [`vring`] keeps the rings.
//! All of it runs on the connection's own thread, and may block.

mod backend_channel;
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
    _watched: Arc<costly::Watched>,
}

impl Connection {
    fn open(incoming: Incoming<HandedOver>, served: &Arc<Served>) -> Result<Self, Error> {
        let socket = Arc::new(incoming.socket().try_clone().map_err(Error::SocketError)?);
        served.notices.forget();
        let front_end = Arc::new(Mutex::new(FrontEnd::new(served.clone(), socket.clone())));
        let watched = costly::watch(&front_end);
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
        Ok(Self { socket, front_end, messages, _watched: watched })
    }

    fn serve(mut self, served: &Served, quit: &Quit) -> End<HandedOver> {
        let end = loop {
            match self.wait(quit, served.notices.channel().as_deref()) {
                Next::Message => {}
                Next::Answer => {
                    served.notices.receive();
                    continue;
                }
                Next::Quit => {
                    quit.hear();
                    return lock(&self.front_end).export().map_or_else(fault, End::HandedOver);
                }
            }
            if let Some(channel) = backend_channel::peek(&self.socket) {
                lock(&self.front_end).offer_channel(channel);
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
        served.notices.forget();
        let mut front_end = lock(&self.front_end);
        front_end.finish();
        // Where memory is missing it was we who ended the connection.
        front_end.intact().map_or_else(fault, |()| end)
    }

    /// Waits for the first bytes of a message, for something on the channel for requests to the front end, or for the
    /// signal to stop.
    fn wait(&self, quit: &Quit, channel: Option<&UnixStream>) -> Next {
        let files = [PollFd::new(quit, PollFlags::IN), PollFd::new(&*self.socket, PollFlags::IN)];
        let answers = channel.map(|channel| PollFd::new(channel, PollFlags::IN));
        let mut fds: heapless::Vec<_, 3> = files.into_iter().chain(answers).collect();
        // It fails where it is interrupted or out of memory: the message is waited for where it is read.
        while poll(&mut fds, None) == Err(Errno::INTR) {}
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        match (is_ready(0), is_ready(1), is_ready(2)) {
            (true, ..) => Next::Quit,
            (false, false, true) => Next::Answer,
            _ => Next::Message,
        }
    }
}

/// Event that a connection waits for.
enum Next {
    /// There is a message, or the front end has left.
    Message,
    /// There is an answer to a request to the front end, or the channel is closed.
    Answer,
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

//! One front end, from its connection to its end.
//!
//! The crate `vhost` reads and checks messages; [`front_end`] carries them out, and [`vring`] keeps the rings.
//! All of it runs on the connection's own thread, and may block.

mod background;
mod costly;
mod front_end;
mod inflight;
mod memory;
mod shared_now;
mod vring;

use crate::served::Served;
use front_end::FrontEnd;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost::vhost_user::{BackendReqHandler, Error};

/// `VHOST_USER_GET_QUEUE_NUM`.
const GET_QUEUE_NUM: u32 = 17;
/// Version 1, and a reply.
const REPLY: u32 = 1 | 4;

/// Reason why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The front end left.
    Left,
    /// The front end broke the protocol, or asked for something impossible.
    Fault(Error),
}

/// Serves a front end until it leaves or is at fault. Its rings are stopped then, with all requests answered
/// that were taken from them, and its memory is unmapped.
pub(crate) fn serve(stream: UnixStream, served: &Arc<Served>) -> End {
    let connection = match stream.try_clone() {
        Ok(connection) => Arc::new(connection),
        Err(error) => return End::Fault(Error::SocketError(error)),
    };
    let front_end = Arc::new(Mutex::new(FrontEnd::new(served.clone(), connection.clone())));
    costly::watch(&front_end);
    let mut requests = BackendReqHandler::from_stream(stream, front_end.clone());
    let end = loop {
        let answered = match requests.handle_request() {
            Err(error) if asks_for_queues(&error) => tell_queues(&connection, served.device.queues()),
            other => other,
        };
        match answered {
            Ok(()) => served.ledger.spoken(),
            Err(Error::Disconnected | Error::SocketBroken(_)) => break End::Left,
            Err(error) => break End::Fault(explained(error, served)),
        }
    };
    let mut front_end = front_end.lock().unwrap_or_else(PoisonError::into_inner);
    front_end.finish();
    // Where memory is missing it was we who ended the connection.
    front_end.intact().map_or_else(End::Fault, |()| end)
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

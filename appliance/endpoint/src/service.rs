//! The protocol of an endpoint's connections, as the endpoint sees it.

use crate::ledger::Ledger;
use crate::quit::Quit;
use luge_core::Descriptors;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Protocol of an endpoint's connections.
pub trait Service: Send + Sync + 'static {
    /// Connection that another endpoint has handed over.
    type Resumed: Resumed;

    /// Name of the endpoint, for messages.
    fn name(&self) -> &str;

    /// Noun for a peer, as in `front end`.
    fn peer(&self) -> &'static str;

    /// Record of the endpoint's peers.
    fn ledger(&self) -> &Ledger;

    /// Budget of the process's file descriptors.
    fn descriptors(&self) -> &Arc<Descriptors>;

    /// Fate of a connection that has spoken while another one is served.
    fn when_busy(&self) -> Busy;

    /// Serves a peer until it leaves or is at fault, or is asked to quit. Afterwards nothing that it shares is used any
    /// more. Notes in the ledger when it has sent a whole message.
    fn serve(&self, incoming: Incoming<Self::Resumed>, quit: &Quit) -> End<Self::Resumed>;
}

/// Fate of a connection that has spoken while another one is served.
#[derive(Clone, Copy)]
pub enum Busy {
    /// The connection waits until the other one is gone.
    Waits,
    /// The connection is answered, without waiting for its peer, and closed.
    Refused(fn(&UnixStream)),
}

/// Connection that is to be served.
pub enum Incoming<R> {
    /// Connection whose peer has not been served yet.
    New(UnixStream),
    /// Connection of another endpoint.
    Resumed(R),
}

impl<R: Resumed> Incoming<R> {
    /// Socket of the connection.
    #[must_use]
    pub fn socket(&self) -> &UnixStream {
        match self {
            Self::New(socket) => socket,
            Self::Resumed(resumed) => resumed.socket(),
        }
    }
}

/// Connection that another endpoint has handed over.
pub trait Resumed: Send + 'static {
    /// Socket of the connection.
    fn socket(&self) -> &UnixStream;
}

/// For protocols whose connections are never handed over.
impl Resumed for std::convert::Infallible {
    fn socket(&self) -> &UnixStream {
        match *self {}
    }
}

/// Reason why a connection ended.
pub enum End<R> {
    /// The peer left.
    Left,
    /// The peer broke the protocol, or asked for something impossible.
    Fault(String),
    /// Another process serves the peer on.
    HandedOver(R),
}

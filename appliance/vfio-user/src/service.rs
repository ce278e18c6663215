//! The vfio-user protocol, as its endpoint sees it.

use crate::connection;
use crate::served::Served;
use luge_core::Descriptors;
use luge_endpoint::{Busy, End, Incoming, Ledger, Quit, Service};
use luge_spec::vfio_user::{Command, Header, MessageFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::convert::Infallible;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// The vfio-user protocol on the socket of an endpoint.
pub(crate) struct VfioUser(pub(crate) Arc<Served>);

impl Service for VfioUser {
    type Resumed = Infallible;

    fn name(&self) -> &str {
        &self.0.name
    }

    fn peer(&self) -> &'static str {
        "client"
    }

    fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    fn descriptors(&self) -> &Arc<Descriptors> {
        &self.0.descriptors
    }

    fn when_busy(&self) -> Busy {
        Busy::Refused(refuse)
    }

    /// Connections are not handed over, so that nobody asks to quit: a connection ends with its socket.
    fn serve(&self, incoming: Incoming<Infallible>, _: &Quit) -> End<Infallible> {
        match incoming {
            Incoming::New(stream) => {
                connection::serve(stream, self.0.ledger.state().counts.connections, &self.0)
            }
            Incoming::Resumed(never) => match never {},
        }
    }
}

/// Most bytes of a message that is refused. The rest is not read.
const VERSION_BYTES_MAX: usize = 4096;

/// Answers the VERSION of a client with an error: another client is served.
fn refuse(stream: &UnixStream) {
    let mut bytes = [0; VERSION_BYTES_MAX];
    // What was read counts, whether it is a whole message or not: the connection is closed in any case.
    let read = recv(stream, &mut bytes, RecvFlags::DONTWAIT).map_or(0, |(_, len)| len);
    let request = bytes.get(..read).and_then(|bytes| Header::read_from_prefix(bytes).ok());
    let reply = Header {
        id: request.map_or_else(Default::default, |(header, _)| header.id),
        command: Command::VERSION,
        size: Header::BYTES.into(),
        flags: MessageFlags::ERROR_REPLY,
        error: Errno::BUSY.raw_os_error().cast_unsigned().into(),
    };
    // A client that has gone, or has no room for it, does not hear it.
    let _ = send(stream, reply.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

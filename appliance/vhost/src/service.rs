//! The vhost-user protocol, as its endpoint sees it.

use crate::connection;
use crate::served::Served;
use crate::state::HandedOver;
use luge_core::Descriptors;
use luge_endpoint::{Busy, End, Incoming, Ledger, Quit, Resumed, Service};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The vhost-user protocol on the socket of an endpoint.
pub(crate) struct VhostUser(pub(crate) Arc<Served>);

impl Service for VhostUser {
    type Resumed = HandedOver;

    fn name(&self) -> &str {
        &self.0.name
    }

    fn peer(&self) -> &'static str {
        "front end"
    }

    fn ledger(&self) -> &Ledger {
        self.0.ledger.peers()
    }

    fn descriptors(&self) -> &Arc<Descriptors> {
        &self.0.descriptors
    }

    fn when_busy(&self) -> Busy {
        // No message of the protocol tells a front end that another is served.
        Busy::Waits
    }

    fn serve(&self, incoming: Incoming<HandedOver>, quit: &Quit) -> End<HandedOver> {
        connection::serve(incoming, &self.0, quit)
    }
}

impl Resumed for HandedOver {
    fn socket(&self) -> &UnixStream {
        &self.socket
    }
}

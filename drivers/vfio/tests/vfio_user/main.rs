//! The vfio-user client against a scripted server, honest and not.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]
#![expect(clippy::cast_possible_truncation, reason = "small numbers of a test")]

mod hostile;
mod lost;
mod memory;
mod server;
mod use_of;

use luge_memory::{DmaSpace, PciFunction};
use luge_vfio::{VfioUser, VfioUserError};
use server::{Script, Server};
use std::sync::Arc;
use std::time::Duration;

/// A server, and the function that was attached from it.
struct Rig {
    // Dropped first: the server's thread ends when its client leaves.
    function: Box<dyn PciFunction>,
    space: Arc<DmaSpace>,
    server: Server,
}

impl Rig {
    fn new(script: Script) -> Self {
        let (space, server) = (DmaSpace::new(), Server::start(script));
        let function = VfioUser::new(space.clone()).open_function(&server.folder()).unwrap();
        Self { function, space, server }
    }

    /// Client of a server that may do wrong: it waits for a short time only.
    fn impatient(script: Script) -> Self {
        let (space, server) = (DmaSpace::new(), Server::start(script));
        let client = VfioUser::new(space.clone()).with_reply_time(Duration::from_millis(40));
        let function = client.open_function(&server.folder()).unwrap();
        Self { function, space, server }
    }
}

/// Attaches a function from a server that does wrong, and returns the refusal.
fn refusal(script: Script) -> VfioUserError {
    let server = Server::start(script);
    let client = VfioUser::new(DmaSpace::new()).with_reply_time(Duration::from_millis(40));
    client.open_function(&server.folder()).err().unwrap()
}

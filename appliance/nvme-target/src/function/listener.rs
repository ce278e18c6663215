//! Source of functions for the clients of a socket: each gets a controller of its own.

use super::nvme::NvmeFunction;
use crate::controller::{Controller, ControllerConfig, ControllerConfigError, ControllerParts};
use crate::queues::DoorbellPages;
use crate::relay::Relay;
use crate::subsystem::Subsystem;
use luge_memory::GuestMemory;
use luge_vfio_user::{Client, Function, FunctionSource};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use thiserror::Error;

/// Description of a listener.
pub struct ListenerConfig {
    /// Subsystem that it serves.
    pub subsystem: Arc<Subsystem>,
    /// Queues and vectors of its controllers.
    pub controller: ControllerConfig,
}

/// Reason why there is no listener.
#[derive(Debug, Error)]
pub enum ListenerError {
    /// Numbers of queues or vectors.
    #[error(transparent)]
    Controller(#[from] ControllerConfigError),
}

/// Source of functions for the clients of a socket.
pub struct Listener {
    subsystem: Arc<Subsystem>,
    controller: ControllerConfig,
}

impl Listener {
    /// Makes a source.
    ///
    /// # Errors
    /// [`ListenerError`].
    pub fn new(config: ListenerConfig) -> Result<Self, ListenerError> {
        let ListenerConfig { subsystem, controller } = config;
        controller.check()?;
        Ok(Self { subsystem, controller })
    }

    /// Makes a controller, as far as the kernel has what that needs.
    fn controller(&self, client: &Client) -> io::Result<Controller> {
        let relay = Arc::new(Relay::new()?);
        let bell = relay.bell().try_clone_to_owned()?;
        // The admin queues have doorbells, too.
        let doorbells = Arc::new(DoorbellPages::new(self.controller.io_queues.saturating_add(1))?);
        let link = self.subsystem.add_controller(
            &client.endpoint,
            client.number,
            relay.bell().try_clone_to_owned()?,
        );
        Ok(Controller::new(ControllerParts {
            subsystem: self.subsystem.clone(),
            link,
            relay,
            doorbells,
            config: self.controller,
            name: client.endpoint.clone(),
            bell: Arc::new(bell),
            tenant: client.tenant(&GuestMemory::default()),
        }))
    }
}

impl FunctionSource for Listener {
    fn connect(&self, client: Client) -> Box<dyn Function> {
        let controller = self.controller(&client).and_then(|controller| {
            let doorbells = controller.parts.doorbells.file().as_fd().try_clone_to_owned()?;
            Ok((controller, doorbells))
        });
        match controller {
            Ok((controller, doorbells)) => Box::new(NvmeFunction::new(client, controller, doorbells)),
            Err(error) => {
                tracing::warn!("{}: a client has no controller: {error}", client.endpoint);
                Box::new(super::absent::Absent)
            }
        }
    }
}

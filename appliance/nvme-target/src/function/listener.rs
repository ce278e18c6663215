//! Source of functions for the clients of a socket: each gets a controller of its own.

use super::nvme::NvmeFunction;
use crate::controller::{Controller, ControllerConfig, ControllerConfigError, ControllerParts};
use crate::queues::DoorbellPages;
use crate::relay::Relay;
use crate::subsystem::Subsystem;
use luge_core::Descriptors;
use luge_memory::GuestMemory;
use luge_vfio_user::{Client, Function, FunctionSource};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use thiserror::Error;

/// File descriptors of a controller beside those of its vectors: its bell and copies of it, and its doorbells.
const DESCRIPTORS: u64 = 6;

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
    descriptors: Arc<Descriptors>,
}

/// Budget of a listener that got none: no promise is refused.
const UNLIMITED: u64 = u64::MAX / 2;

impl Listener {
    /// Makes a source.
    ///
    /// # Errors
    /// [`ListenerError`].
    pub fn new(config: ListenerConfig) -> Result<Self, ListenerError> {
        let ListenerConfig { subsystem, controller } = config;
        controller.check()?;
        Ok(Self { subsystem, controller, descriptors: Descriptors::with_limit(UNLIMITED) })
    }

    /// Takes the file descriptors of controllers from a budget: those of a controller when its client comes, those of a
    /// queue when it is created. A client without is refused.
    #[must_use]
    pub fn with_descriptors(self, descriptors: Arc<Descriptors>) -> Self {
        Self { descriptors, ..self }
    }

    /// Makes a controller, as far as the kernel has what that needs.
    fn controller(&self, client: &Client) -> io::Result<Controller> {
        let own = DESCRIPTORS.saturating_add(self.controller.vectors.into());
        let promise = self.descriptors.promise(own).map_err(io::Error::other)?;
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
            descriptors: self.descriptors.clone(),
            _promise: promise,
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

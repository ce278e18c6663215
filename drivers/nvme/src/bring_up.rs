//! Bring-up: stops a controller that runs, enables it, and identifies it and its namespaces.
//!
//! Path: none. Base 2.0, clause 3.5.1.
//!
//! Not here: the handle to the controller (`controller`).

use crate::admin::Admin;
use crate::identity::Discovery;
use crate::namespaces::Namespaces;
use crate::quirks::Quirk;
use crate::registers::Registers;
use crate::{ErrorKind, Options};
use luge_memory::MemoryAccess;

/// The most refused namespaces that are logged one by one.
const REFUSALS_LOGGED: usize = 16;

/// Stops a controller that firmware, or another driver, has left running.
pub(crate) fn stop_running(registers: &Registers) -> Result<(), ErrorKind> {
    registers.set_bus_master(MemoryAccess::Forbidden)?;
    registers.quirks().pause(Quirk::PauseAfterReset);
    registers.disable().or_else(|error| match registers.reset_function() {
        Ok(()) => registers.disable(),
        Err(_) => Err(error),
    })
}

/// Enables a stopped controller and identifies it, at bring-up and after each reset.
pub(crate) fn identify(admin: &mut Admin, options: &Options) -> Result<Discovery, ErrorKind> {
    admin.start()?;
    Discovery::run(admin, options.queue_pairs)
}

/// Enables a stopped controller, and identifies it and its namespaces.
pub(crate) fn identify_all(
    admin: &mut Admin,
    options: &Options,
) -> Result<(Discovery, Namespaces), ErrorKind> {
    let discovery = identify(admin, options)?;
    let namespaces = Namespaces::find(admin, &discovery)?;
    Ok((discovery, namespaces))
}

/// Logs the identity of a controller, and the namespaces that are not used.
pub(crate) fn log_discovery(registers: &Registers, discovery: &Discovery, namespaces: &Namespaces) {
    let (controller, identity) = (registers.name(), &discovery.identity);
    tracing::info!(
        controller,
        model = identity.model,
        serial = identity.serial,
        firmware = identity.firmware,
        namespaces = namespaces.usable.len(),
        queue_pairs = discovery.queue_pairs,
        quirks = ?registers.quirks().all(),
        "SSD is up"
    );
    for refused in namespaces.refused.iter().take(REFUSALS_LOGGED) {
        tracing::warn!(controller, %refused, "namespace refused");
    }
    let more = namespaces.refused.len().saturating_sub(REFUSALS_LOGGED);
    if more > 0 {
        tracing::warn!(controller, "{more} more namespaces refused: bdev_nvme_get_controllers lists them");
    }
}

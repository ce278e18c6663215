//! The steps from a function that somebody else had to a controller that answers.
//!
//! Path: none; bring-up. Base 2.0, clause 3.5.1.
//!
//! Not here: who owns the controller afterwards (`controller`).

use crate::admin::Admin;
use crate::identity::Discovery;
use crate::namespaces::Namespaces;
use crate::quirks::Quirk;
use crate::registers::Registers;
use crate::{Options, ErrorKind};
use luge_memory::MemoryAccess;

/// Refused namespaces that are logged one by one.
const REFUSALS_LOGGED: usize = 16;

/// Stops a controller that firmware, or somebody before us, left running.
pub(crate) fn stop_whatever_runs(registers: &Registers) -> Result<(), ErrorKind> {
    registers.set_bus_master(MemoryAccess::Forbidden)?;
    registers.quirks().pause(Quirk::PauseAfterReset);
    registers.disable().or_else(|error| match registers.reset_function() {
        Ok(()) => registers.disable(),
        Err(_) => Err(error),
    })
}

/// Enables a stopped controller and asks it who it is. Bring-up, and every reset after it.
pub(crate) fn wake(admin: &mut Admin, options: &Options) -> Result<Discovery, ErrorKind> {
    admin.start()?;
    Discovery::run(admin, options.queue_pairs)
}

/// Enables a stopped controller, and asks it who it is and which namespaces it has.
pub(crate) fn introduce(admin: &mut Admin, options: &Options) -> Result<(Discovery, Namespaces), ErrorKind> {
    let discovery = wake(admin, options)?;
    let namespaces = Namespaces::find(admin, &discovery)?;
    Ok((discovery, namespaces))
}

/// Logs what a controller is, and what of it is not used.
pub(crate) fn announce(registers: &Registers, discovery: &Discovery, namespaces: &Namespaces) {
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

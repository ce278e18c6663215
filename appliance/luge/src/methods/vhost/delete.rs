//! `vhost_delete_controller`: ends a controller whose front end has left, or cuts it off.

use crate::control::{Control, Endpoint, Server, Sled, User, VhostDevice};
use crate::methods::definition::waiting_method;
use luge_rpc::{Method, RpcError, params};
use luge_vhost::Departure;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time limit for a front end that is leaving. SPDK has the same for a session to stop.
const DEPARTURE: Duration = Duration::from_secs(4);

/// Shortest timeout of clients: ubicloud's.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);

// Whoever asks hears of a refusal.
const _: () = assert!(DEPARTURE.as_secs() < CLIENT_TIMEOUT.as_secs());

params! {
    /// Parameters of `vhost_delete_controller`.
    struct Delete {
        /// Name of the controller
        ctrlr: String,
        /// Whether its front ends are cut off; else it is not deleted while it has one
        force: Option<bool>,
    }
}

pub fn method_of(control: &Arc<Control>) -> Method {
    waiting_method(control, "vhost_delete_controller", "Stop serving a device", delete)
}

/// Deletes a controller. Waits on this thread for the requests in flight.
fn delete(control: &Arc<Control>, params: Delete) -> Result<bool, RpcError> {
    let endpoint = match params.force {
        Some(true) => control.ask({
            let name = params.ctrlr.clone();
            move |sled| take(sled, &name)
        })?,
        _ => take_when_left(control, &params.ctrlr)?,
    };
    let uses = uses(&params.ctrlr, &endpoint.device);
    endpoint.end();
    control.ask(move |sled| {
        uses.iter().for_each(|(bdev, user)| sled.bdevs.unclaim(bdev, user));
        sled.endpoints.release(&params.ctrlr);
        Ok(true)
    })
}

/// Block devices that a controller uses, each with the controller as its user.
fn uses(name: &str, device: &VhostDevice) -> Vec<(String, User)> {
    match device {
        VhostDevice::Disk(disk) => vec![(disk.bdev.clone(), User::Endpoint(name.into()))],
        VhostDevice::Hba(hba) => {
            hba.luns().map(|(_, lun)| (lun.bdev.clone(), User::Lun(name.into()))).collect()
        }
    }
}

/// Removes a controller after its front end has left. Waits on this thread, so no other call is delayed.
fn take_when_left(control: &Control, name: &str) -> Result<Endpoint, RpcError> {
    let deadline = Instant::now() + DEPARTURE;
    loop {
        let wanted = name.to_owned();
        let departure = match control.ask(move |sled| take_unused(sled, &wanted))? {
            Taken::Endpoint(endpoint) => return Ok(endpoint),
            Taken::Connected(departure) => departure,
        };
        if !departure.wait(deadline.saturating_duration_since(Instant::now())) {
            return Err(has_front_end(name));
        }
    }
}

fn has_front_end(name: &str) -> RpcError {
    RpcError::busy(format_args!(
        "vhost controller {name} has a front end: stop that guest first, or cut it off with `force`"
    ))
}

/// Result of a removal.
enum Taken {
    Endpoint(Endpoint),
    /// The controller stays: a front end is connected.
    Connected(Departure),
}

/// Removes a controller if no front end is connected or waits.
fn take_unused(sled: &mut Sled, name: &str) -> Result<Taken, RpcError> {
    check_no_vm(sled, name)?;
    let Server::Listening(server) = &sled.endpoints.get(name)?.server else {
        return take(sled, name).map(Taken::Endpoint);
    };
    let status = server.status();
    if status.front_end.is_some() {
        return Ok(Taken::Connected(server.departure()));
    }
    if status.counts.waiting > 0 { Err(has_front_end(name)) } else { take(sled, name).map(Taken::Endpoint) }
}

/// Removes a controller, even if a front end is connected.
fn take(sled: &mut Sled, name: &str) -> Result<Endpoint, RpcError> {
    check_no_vm(sled, name)?;
    if !sled.endpoints.get(name)?.is_settled() {
        return Err(RpcError::busy(format_args!(
            "vhost controller {name} is being started, or gets or loses a LUN: try again"
        )));
    }
    let endpoint = sled.endpoints.take(name)?;
    sled.record.remove(endpoint.device.subsystem(), name);
    Ok(endpoint)
}

/// Refuses to delete a controller that is the disk of a VM of Luge's own.
fn check_no_vm(sled: &Sled, name: &str) -> Result<(), RpcError> {
    sled.endpoints.get(name)?;
    match sled.platform.vms.user_of(name) {
        Some(vm) => Err(RpcError::busy(format_args!(
            "vhost controller {name} is a disk of VM {vm}: vm_stop it first"
        ))),
        None => Ok(()),
    }
}

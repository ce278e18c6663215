//! `vhost_start_scsi_controller`: makes the socket of a controller that was created with `delay`.

use crate::control::{Call, Control, Delayed, Platform, Server, Sled, Subsystem};
use crate::methods::definition::method;
use crate::methods::vhost::listener;
use luge_rpc::{Method, RpcError, params};
use luge_vhost::ScsiHba;
use serde_json::json;
use std::sync::Arc;

params! {
    /// Parameters of `vhost_start_scsi_controller`.
    struct Start {
        /// Name of the controller
        ctrlr: String,
    }
}

pub fn method_of(control: &Arc<Control>) -> Method {
    let help = "Make the socket of a SCSI controller that was created with delay";
    method(control, "vhost_start_scsi_controller", help, start)
}

/// Starts a controller. One that listens goes on, as in SPDK.
fn start(control: &Arc<Control>, params: Start) -> Result<bool, RpcError> {
    let name = params.ctrlr.clone();
    let Some(begun) = control.ask(move |sled| begin(sled, &name))? else { return Ok(true) };
    let Begun { delayed, device } = begun;
    let name = params.ctrlr.clone();
    let undo = control.undo(move |sled| go_back(sled, &name));
    let server = listen(control.platform(), delayed, &device)?;
    control.ask(move |sled| {
        sled.endpoints.get_mut(&params.ctrlr)?.server = server;
        record_start(sled, &params.ctrlr);
        Ok(())
    })?;
    undo.disarm();
    Ok(true)
}

/// A controller that a call starts.
struct Begun {
    delayed: Delayed,
    device: Arc<ScsiHba>,
}

/// Reserves a controller for the call that starts it; none if it listens.
fn begin(sled: &mut Sled, name: &str) -> Result<Option<Begun>, RpcError> {
    let endpoint = sled.endpoints.get_mut(name)?;
    let device = endpoint.hba_mut(name)?.device.clone();
    match &endpoint.server {
        Server::Listening(_) => Ok(None),
        Server::Starting(_) => Err(RpcError::busy(format_args!(
            "vhost controller {name} is being started already: wait for that"
        ))),
        Server::Delayed(delayed) => {
            let delayed = delayed.clone();
            endpoint.server = Server::Starting(delayed.clone());
            Ok(Some(Begun { delayed, device }))
        }
    }
}

fn go_back(sled: &mut Sled, name: &str) {
    if let Ok(endpoint) = sled.endpoints.get_mut(name)
        && let Server::Starting(delayed) = &endpoint.server
    {
        endpoint.server = Server::Delayed(delayed.clone());
    }
}

/// Serves an adapter on its socket.
///
/// # Errors
/// As [`listener::start`].
pub fn listen(platform: &Platform, delayed: Delayed, device: &Arc<ScsiHba>) -> Result<Server, RpcError> {
    let Delayed { place, coalescing } = delayed;
    let server = listener::start(platform, place, device.clone())?;
    server.coalescing().set(coalescing.get());
    Ok(Server::Listening(server))
}

/// Records the start after all other calls about the controller.
pub fn record_start(sled: &mut Sled, name: &str) {
    let call = Call::new("vhost_start_scsi_controller", json!({ "ctrlr": name }));
    sled.record.set_detail(Subsystem::VhostScsi, name, "start", call);
}

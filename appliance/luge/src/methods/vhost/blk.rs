//! `vhost_create_blk_controller`: a block device as a virtio disk on a socket.

use super::listener;
use crate::control::{
    Call, Control, Disk, Endpoint, Place, PrOwner, PrScope, Server, Sled, Subsystem, User, VhostDevice,
};
use crate::cpus::Cpus;
use crate::methods::definition::{method, off};
use luge_block::OpenError;
use luge_core::{AttachError, CoreHandle};
use luge_rpc::{Method, RpcError, params};
use luge_vhost::{Access, BlkConfig, BlkDevice, BlkError, QUEUES_MAX};
use luge_volume::Volume;
use rustix::io::Errno;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// Name of the backend for clients.
pub const TRANSPORT: &str = "vhost_user_blk";

/// Maximum length of a serial number in bytes.
const SERIAL_BYTES: usize = 20;

params! {
    /// Parameters of `vhost_create_blk_controller`.
    struct Create {
        /// Name of the controller, and of its socket
        ctrlr: String,
        /// Name or UUID of the bdev
        dev_name: String,
        /// Mask of the cores that serve the disk; all if not given
        cpumask: Option<String>,
        /// Number of queues that guests may use, 1 to 256; 256 if not given
        num_queues: Option<u16>,
        /// Whether guests can only read
        readonly: Option<bool>,
        /// Owner of the disk: all disks of one owner share its part of a core's time; if not given, all disks of
        /// a virtual machine do
        tenant: Option<String>,
        /// Whose persistent reservations of the bdev it obeys: those of all its users (volume), or of its tenant (vm);
        /// that of the sled if not given
        pr_scope: Option<PrScope>,
        /// vhost_user_blk, or not given
        transport: Option<String>,
        /// Not supported: false or not given
        packed_ring: Option<bool>,
    }
}

pub fn method_of(control: &Arc<Control>) -> Method {
    method(control, "vhost_create_blk_controller", "Serve a device on a vhost-user socket", create)
}

/// Facts that the control thread found for a controller that is being made.
struct Claim {
    bdev: String,
    uuid: Uuid,
    volume: Arc<Volume>,
}

/// Creates a controller. The volume is opened on this thread, as an SSD may be slow.
fn create(control: &Arc<Control>, params: Create) -> Result<bool, RpcError> {
    off("packed_ring", params.packed_ring)?;
    check_transport(params.transport.as_deref())?;
    let queues = queues(params.num_queues)?;
    let platform = control.platform();
    let cores = platform.cores_of(params.cpumask.as_deref())?;
    let socket = platform.sockets.socket(&params.ctrlr)?;
    let scope = params.pr_scope.unwrap_or(platform.pr_scope);
    let owner = scope.owner(&params.ctrlr, params.tenant.as_deref());
    let (name, dev_name) = (params.ctrlr.clone(), params.dev_name.clone());
    let claim = control.ask(move |sled| claim(sled, &name, &dev_name, owner.as_ref()))?;
    let (name, bdev) = (params.ctrlr.clone(), claim.bdev.clone());
    let undo = control.undo(move |sled| give_up(sled, &name, &bdev));
    let cpus: Cpus = cores.iter().map(CoreHandle::id).collect();
    let call = Call::new("vhost_create_blk_controller", call(&params, &claim.bdev, &cpus));
    let readonly = params.readonly.unwrap_or(false);
    let device = BlkDevice::open(BlkConfig {
        volume: claim.volume,
        access: if readonly { Access::ReadOnly } else { Access::ReadWrite },
        serial: serial(&claim.bdev, claim.uuid),
        cores,
        queues,
    });
    let device = Arc::new(device.map_err(|error| refusal(&error))?);
    let place = Place { name: params.ctrlr.clone(), socket, tenant: params.tenant };
    let server = listener::start(platform, place, device.clone())?;
    let (notices, served) = (server.notices(), device.clone());
    let server = Server::Listening(server);
    let endpoint = Endpoint { server, device: VhostDevice::Disk(Disk { device, bdev: claim.bdev }) };
    control.ask(move |sled| {
        sled.record.add(Subsystem::VhostBlk, &params.ctrlr, call);
        sled.endpoints.put(&params.ctrlr, endpoint);
        Ok(())
    })?;
    undo.disarm();
    // It may have been resized before the controller was in the table.
    if served.resize() {
        notices.changed();
    }
    Ok(true)
}

/// Parameters by which the controller is created again.
fn call(params: &Create, bdev: &str, cpus: &Cpus) -> Value {
    let readonly = params.readonly.unwrap_or(false);
    let mut call = json!({
        "ctrlr": params.ctrlr, "dev_name": bdev, "cpumask": cpus.mask(), "readonly": readonly,
    });
    if let Some(queues) = params.num_queues {
        call["num_queues"] = queues.into();
    }
    if let Some(tenant) = &params.tenant {
        call["tenant"] = tenant.clone().into();
    }
    if let Some(scope) = params.pr_scope {
        call["pr_scope"] = json!(scope);
    }
    call
}

/// Number of queues that a controller offers.
fn queues(wanted: Option<u16>) -> Result<u16, RpcError> {
    let queues = wanted.unwrap_or(QUEUES_MAX);
    if (1..=QUEUES_MAX).contains(&queues) {
        return Ok(queues);
    }
    Err(RpcError::invalid_params(format_args!(
        "parameter `num_queues`: a controller has 1 to {QUEUES_MAX} queues, not {queues}"
    )))
}

fn check_transport(transport: Option<&str>) -> Result<(), RpcError> {
    match transport {
        None | Some(TRANSPORT) => Ok(()),
        Some(_) => Err(RpcError::invalid_params(format_args!(
            "parameter `transport`: {TRANSPORT} is the one that Luge has"
        ))),
    }
}

fn claim(sled: &mut Sled, name: &str, dev_name: &str, owner: Option<&PrOwner>) -> Result<Claim, RpcError> {
    let bdev = sled.bdevs.resolve(dev_name)?;
    sled.endpoints.check_free(name)?;
    sled.bdevs.claim(&bdev, User::Endpoint(name.into()))?;
    sled.endpoints.reserve(name)?;
    let device = sled.bdevs.get_mut(&bdev)?;
    Ok(Claim { uuid: device.uuid, volume: device.volume_for(owner), bdev })
}

fn give_up(sled: &mut Sled, name: &str, bdev: &str) {
    sled.bdevs.unclaim(bdev, &User::Endpoint(name.into()));
    sled.endpoints.release(name);
}

/// Serial number: the name if it fits; else a unique text.
fn serial(bdev: &str, uuid: Uuid) -> String {
    if bdev.len() <= SERIAL_BYTES { bdev.into() } else { uuid.simple().to_string() }
}

fn refusal(error: &BlkError) -> RpcError {
    match error {
        BlkError::Attach(AttachError::Open(OpenError::NoQueue { .. })) => RpcError::busy(error),
        BlkError::Attach(AttachError::Open(OpenError::Device { .. })) => RpcError::errno(Errno::IO, error),
        BlkError::Attach(AttachError::Open(OpenError::Memory { .. }) | AttachError::Full(_)) => {
            RpcError::no_memory(error)
        }
        BlkError::Queues(_) | BlkError::NoCores => RpcError::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_a_disk_has_the_code_of_its_cause() {
        let (device, reason) = (|| "N n1".to_owned(), || "no".to_owned());
        let open = |error: OpenError| BlkError::Attach(AttachError::Open(error));
        for (error, code) in [
            (open(OpenError::NoQueue { device: device(), core: 0, queues: 1, users: vec![1] }), -16),
            (open(OpenError::Device { device: device(), reason: reason() }), -5),
            (open(OpenError::Memory { device: device(), reason: reason() }), -12),
            (BlkError::Attach(AttachError::Full(0)), -12),
            (BlkError::NoCores, -32603),
        ] {
            assert_eq!(refusal(&error).code.0, code, "{error}");
        }
    }
}

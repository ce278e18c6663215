//! `vhost_*`: block devices on vhost-user sockets.

use super::definition::{listed, method, off, waiting_method};
use crate::control::{Call, Control, Endpoint, Sled, Subsystem, User};
use crate::cpus::Cpus;
use luge_block::OpenError;
use luge_core::{AttachError, CoreHandle};
use luge_rpc::{Method, RpcError, params};
use luge_vhost::{
    Access, BackoffLimits, BlkConfig, BlkDevice, BlkError, Departure, EndpointConfig, EndpointError,
    FrontEndStatus, QUEUES_MAX, SocketError,
};
use luge_volume::Volume;
use rustix::io::Errno;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Name of the backend for clients.
const TRANSPORT: &str = "vhost_user_blk";

/// Time limit for a front end that is leaving. SPDK has the same for a session to stop.
const DEPARTURE: Duration = Duration::from_secs(4);

/// Shortest timeout of clients: ubicloud's.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);

// Whoever asks hears of a refusal.
const _: () = assert!(DEPARTURE.as_secs() < CLIENT_TIMEOUT.as_secs());

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
        /// vhost_user_blk, or not given
        transport: Option<String>,
        /// Not supported: false or not given
        packed_ring: Option<bool>,
    }
}

params! {
    /// Parameters of `vhost_get_controllers`.
    struct Get {
        /// Name of one controller; all if not given
        name: Option<String>,
    }
}

params! {
    /// Parameters of `vhost_delete_controller`.
    struct Delete {
        /// Name of the controller
        ctrlr: String,
        /// Whether its front ends are cut off; else it is not deleted while it has one
        force: Option<bool>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        method(control, "vhost_create_blk_controller", "Serve a device on a vhost-user socket", create),
        method(control, "vhost_get_controllers", "List the vhost controllers", get),
        waiting_method(control, "vhost_delete_controller", "Stop serving a device", delete),
    ]
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
    let (name, dev_name) = (params.ctrlr.clone(), params.dev_name);
    let claim = control.ask(move |sled| claim(sled, &name, &dev_name))?;
    let (name, bdev) = (params.ctrlr.clone(), claim.bdev.clone());
    let undo = control.undo(move |sled| give_up(sled, &name, &bdev));
    let readonly = params.readonly.unwrap_or(false);
    let cpus: Cpus = cores.iter().map(CoreHandle::id).collect();
    let disk = BlkDevice::open(BlkConfig {
        volume: claim.volume,
        access: if readonly { Access::ReadOnly } else { Access::ReadWrite },
        serial: serial(&claim.bdev, claim.uuid),
        cores,
        queues,
    });
    let disk = Arc::new(disk.map_err(|error| disk_refusal(&error))?);
    let server = luge_vhost::Endpoint::start(EndpointConfig {
        name: params.ctrlr.clone(),
        socket,
        permissions: platform.sockets.permissions,
        owner: params.tenant.clone(),
        device: disk.clone(),
        space: platform.space.clone(),
        descriptors: platform.descriptors.clone(),
        backoff: BackoffLimits::default(),
    });
    let server = server.map_err(|error| refusal(&error))?;
    let (notices, served) = (server.notices(), disk.clone());
    let endpoint = Endpoint { server, disk, bdev: claim.bdev };
    let mut call = json!({
        "ctrlr": params.ctrlr, "dev_name": endpoint.bdev, "cpumask": cpus.mask(), "readonly": readonly,
    });
    if let Some(queues) = params.num_queues {
        call["num_queues"] = queues.into();
    }
    if let Some(tenant) = params.tenant {
        call["tenant"] = tenant.into();
    }
    control.ask(move |sled| {
        sled.record.add(Subsystem::VhostBlk, &params.ctrlr, Call::new("vhost_create_blk_controller", call));
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

fn claim(sled: &mut Sled, name: &str, dev_name: &str) -> Result<Claim, RpcError> {
    let bdev = sled.bdevs.resolve(dev_name)?;
    sled.endpoints.check_free(name)?;
    let volume = sled.bdevs.claim(&bdev, User::Endpoint(name.into()))?;
    sled.endpoints.reserve(name)?;
    Ok(Claim { uuid: sled.bdevs.get(&bdev)?.uuid, bdev, volume })
}

fn give_up(sled: &mut Sled, name: &str, bdev: &str) {
    sled.bdevs.unclaim(bdev, &User::Endpoint(name.into()));
    sled.endpoints.release(name);
}

/// Serial number: the name if it fits; else a unique text.
fn serial(bdev: &str, uuid: Uuid) -> String {
    if bdev.len() <= SERIAL_BYTES { bdev.into() } else { uuid.simple().to_string() }
}

fn refusal(error: &EndpointError) -> RpcError {
    match error {
        EndpointError::Socket(SocketError::System { .. } | SocketError::Group { .. }) => {
            RpcError::invalid(error)
        }
        EndpointError::Socket(
            SocketError::Alive(_)
            | SocketError::NotASocket(_)
            | SocketError::Stale { .. }
            | SocketError::Lock { .. },
        ) => RpcError::exists(error),
        EndpointError::Thread(_) => RpcError::internal(error),
        EndpointError::Descriptors(_) => RpcError::errno(Errno::MFILE, error),
    }
}

fn disk_refusal(error: &BlkError) -> RpcError {
    match error {
        BlkError::Attach(AttachError::Open(OpenError::NoQueue { .. })) => RpcError::busy(error),
        BlkError::Attach(AttachError::Open(OpenError::Device { .. })) => RpcError::errno(Errno::IO, error),
        BlkError::Attach(AttachError::Open(OpenError::Memory { .. }) | AttachError::Full(_)) => {
            RpcError::no_memory(error)
        }
        BlkError::Queues(_) | BlkError::NoCores => RpcError::internal(error),
    }
}

fn get(control: &Arc<Control>, params: Get) -> Result<Box<RawValue>, RpcError> {
    control.ask(move |sled| match params.name {
        Some(name) => listed([describe(&name, sled.endpoints.get(&name)?)]),
        None => {
            listed(sled.endpoints.iter().map(|(name, endpoint)| describe(name, endpoint)).collect::<Vec<_>>())
        }
    })
}

fn describe(name: &str, endpoint: &Endpoint) -> Value {
    let status = endpoint.server.status();
    let sessions: Vec<_> = status.front_end.iter().map(|front_end| session(name, front_end)).collect();
    json!({
        "ctrlr": name,
        "cpumask": status.cores.iter().copied().collect::<Cpus>().mask(),
        "delay_base_us": 0,
        "iops_threshold": 0,
        "socket": status.socket,
        "num_queues": status.queues_max,
        "sessions": sessions,
        "front_ends": {
            "connections": status.counts.connections,
            "protocol_errors": status.counts.protocol_errors,
            "silent": status.counts.silent,
            "waited": status.counts.waited,
            "waiting": status.counts.waiting,
            "cut_off_in_a_row": status.backoff.cut_off,
            "pause_left_ms": millis(status.backoff.pause_left),
        },
        "backend_specific": {
            "block": { "readonly": endpoint.disk.is_read_only(), "bdev": endpoint.bdev, "transport": TRANSPORT },
        },
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn session(name: &str, front_end: &FrontEndStatus) -> Value {
    let in_flight: u64 = front_end.queues.iter().map(|queue| u64::from(queue.in_flight)).sum();
    json!({
        "vid": front_end.number,
        "id": front_end.number,
        "name": format!("{name}s{}", front_end.number),
        "started": !front_end.queues.is_empty(),
        "max_queues": front_end.queues.len(),
        "memory_stalls": front_end.stalls.count,
        "longest_memory_stall_us": u64::try_from(front_end.stalls.longest.as_micros()).unwrap_or(u64::MAX),
        "inflight_task_cnt": in_flight,
    })
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
    let bdev = endpoint.bdev.clone();
    endpoint.end();
    control.ask(move |sled| {
        give_up(sled, &params.ctrlr, &bdev);
        Ok(true)
    })
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
    let server = &sled.endpoints.get(name)?.server;
    let status = server.status();
    if status.front_end.is_some() {
        return Ok(Taken::Connected(server.departure()));
    }
    if status.counts.waiting > 0 { Err(has_front_end(name)) } else { take(sled, name).map(Taken::Endpoint) }
}

/// Removes a controller, even if a front end is connected.
fn take(sled: &mut Sled, name: &str) -> Result<Endpoint, RpcError> {
    check_no_vm(sled, name)?;
    sled.record.remove(Subsystem::VhostBlk, name);
    sled.endpoints.take(name)
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

#[cfg(test)]
mod tests {
    use super::*;
    use luge_vhost::Stalls;

    #[test]
    fn waits_of_cores_for_memory_are_shown() {
        let stalls = Stalls { count: 2, longest: Duration::from_millis(390) };
        let shown = session("d", &FrontEndStatus { number: 7, queues: vec![], stalls });
        assert_eq!(shown["memory_stalls"], 2);
        assert_eq!(shown["longest_memory_stall_us"], 390_000);
    }

    #[test]
    fn each_refusal_of_a_disk_or_its_endpoint_has_the_code_of_its_cause() {
        let (device, reason) = (|| "N n1".to_owned(), || "no".to_owned());
        let system = std::io::Error::other("no");
        for (error, code) in [
            (EndpointError::Socket(SocketError::Alive("/s".into())), -17),
            (EndpointError::Socket(SocketError::NotASocket("/s".into())), -17),
            (EndpointError::Socket(SocketError::System { path: "/s".into(), source: system }), -22),
            (EndpointError::Thread(std::io::Error::other("no")), -32603),
        ] {
            assert_eq!(refusal(&error).code.0, code, "{error}");
        }
        let open = |error: OpenError| BlkError::Attach(AttachError::Open(error));
        for (error, code) in [
            (open(OpenError::NoQueue { device: device(), core: 0, queues: 1, users: vec![1] }), -16),
            (open(OpenError::Device { device: device(), reason: reason() }), -5),
            (open(OpenError::Memory { device: device(), reason: reason() }), -12),
            (BlkError::Attach(AttachError::Full(0)), -12),
            (BlkError::NoCores, -32603),
        ] {
            assert_eq!(disk_refusal(&error).code.0, code, "{error}");
        }
    }
}

//! `bdev_nvme_attach_controller`: takes an SSD from the kernel, or connects to the vfio-user server that emulates one,
//! brings it up, and makes block devices of its namespaces.
//!
//! Waits for the SSD are on the caller's thread: an SSD that is slow to come up, or to shut down after a
//! refusal, delays no other call. Names are reserved before the SSD is touched as far as they are known, and
//! a refusal leaves the SSD with the driver that it had.

use super::bring_up::bring_up;
use super::identity::reserve_all;
use super::new_ssd::NewSsd;
use super::path::{address, port_off};
use super::timeouts::{self, LossTimeouts};
use crate::control::{Bdev, Call, Control, Platform, Sled, Source, Ssd, SsdAddress, Subsystem};
use crate::methods::definition::off;
use crate::methods::vhost::remove_luns_of_ssd;
use luge_nvme::{Controller, Namespace};
use luge_rpc::{RpcError, params};
use luge_volume::Volume;
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

params! {
    /// Parameters of `bdev_nvme_attach_controller`.
    pub struct Attach {
        /// Name of the controller; its namespaces become NAMEn1, NAMEn2, ...
        name: String,
        /// PCIe or VFIOUSER. A vfio-user server gets all memory of guests with disks on SSDs, and is trusted with it
        trtype: String,
        /// PCI address, as in 0000:01:00.0; or the directory of a vfio-user server, with its socket cntrl, or a socket
        traddr: String,
/// Number of queues to ask for; one for each core if not given
        num_io_queues: Option<u32>,
        /// Not supported: empty or not given
        adrfam: Option<String>,
        /// "0", empty or not given: an SSD has no port
        trsvcid: Option<String>,
        /// Not supported: empty or not given
        priority: Option<String>,
        /// Not supported: empty or not given
        subnqn: Option<String>,
        /// Not supported: empty or not given
        hostnqn: Option<String>,
        /// Not supported: empty or not given
        hostaddr: Option<String>,
        /// Not supported: empty or not given
        hostsvcid: Option<String>,
        /// Not supported: false or not given
        prchk_reftag: Option<bool>,
        /// Not supported: false or not given
        prchk_guard: Option<bool>,
        /// Not supported: false or not given
        hdgst: Option<bool>,
        /// Not supported: false or not given
        ddgst: Option<bool>,
        /// Not supported: 0 or not given
        fabrics_connect_timeout_us: Option<u64>,
        /// "disable", or not given
        multipath: Option<PathMode>,
        /// Taken for compatibility: an SSD stays attached until it is detached
        ctrlr_loss_timeout_sec: Option<i32>,
        /// Taken for compatibility, and no more than ctrlr_loss_timeout_sec
        reconnect_delay_sec: Option<u32>,
        /// Taken for compatibility, and between the other two
        fast_io_fail_timeout_sec: Option<u32>,
        /// Not supported: empty or not given
        psk: Option<String>,
/// Maximum number of namespaces of the SSD; any number if not given
        max_bdevs: Option<u32>,
        /// Not supported: empty or not given
        dhchap_key: Option<String>,
        /// Not supported: empty or not given
        dhchap_ctrlr_key: Option<String>,
        /// Not supported: false or not given
        allow_unrecognized_csi: Option<bool>,
        /// Not supported: not given
        multipath_opts: Option<Value>,
        /// Not supported: false or not given
        disable_sq_flow_control: Option<bool>,
    }
}

/// Handling of a second path to the SSD: there is none on PCIe.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathMode {
    #[default]
    Disable,
    Failover,
    Multipath,
}

impl luge_rpc::ParamValue for PathMode {
    const KIND: &'static str = "disable|failover|multipath";
}

/// Prefix of the host NQNs that SPDK generates.
const GENERATED_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:";

pub fn run(control: &Arc<Control>, mut params: Attach) -> Result<Vec<String>, RpcError> {
    pass_over_saved_defaults(&mut params);
    let address = check(&params)?;
    let queue_pairs = queue_pairs(params.num_io_queues)?;
    let at = address.clone();
    attach(control, params, address, |platform| bring_up(platform, &at, queue_pairs))
}

/// Checks the parameters without the SSD; returns its address.
pub fn check(params: &Attach) -> Result<SsdAddress, RpcError> {
    let address = address(&params.trtype, &params.traddr)?;
    check_off(params)?;
    timeouts::check(LossTimeouts {
        loss_s: params.ctrlr_loss_timeout_sec.map_or(0, i64::from),
        delay_s: params.reconnect_delay_sec.map_or(0, i64::from),
        fail_s: params.fast_io_fail_timeout_sec.map_or(0, i64::from),
    })?;
    match params.max_bdevs {
        Some(0) => Err(RpcError::invalid("parameter `max_bdevs`: at least 1")),
        _ => Ok(address),
    }
}

/// Drops the fabrics defaults that SPDK's `save_config` writes for an SSD on PCIe too. Such
/// parameters are recognised by the generated host NQN, which is always there.
fn pass_over_saved_defaults(params: &mut Attach) {
    if !params.hostnqn.as_deref().is_some_and(|nqn| nqn.starts_with(GENERATED_NQN)) {
        return;
    }
    params.hostnqn = None;
    params.fabrics_connect_timeout_us = None;
    params.multipath = None;
    let policy = params.multipath_opts.as_ref().map(|options| &options["policy"]);
    if policy.is_some_and(|policy| policy == "active_passive") {
        params.multipath_opts = None;
    }
}

/// Reserves the name, brings the SSD up on this thread, and makes block devices of it. An SSD that is refused
/// after it came up is shut down on this thread, and given back before its name is free.
pub fn attach(
    control: &Arc<Control>,
    params: Attach,
    address: SsdAddress,
    bring_up: impl FnOnce(&Platform) -> Result<NewSsd, RpcError>,
) -> Result<Vec<String>, RpcError> {
    let name = params.name.clone();
    let wanted = address.clone();
    control.ask(move |sled| {
        check_unattached(sled, &wanted)?;
        sled.ssds.reserve(&name)
    })?;
    let name = params.name.clone();
    let undo = control.undo(move |sled| sled.ssds.release(&name));
    let platform = control.platform();
    // A queue pair for each core, and one for background cores.
    let descriptors = platform.promise_descriptors(Ssd::descriptors(platform.cores.len() as u64 + 1))?;
    let new = bring_up(platform)?;
    let bdevs = reserve_bdevs(control, &params, &address, &new)?;
    let (namespaces, controller) = (new.namespaces(), new.keep());
    let ssd = Ssd { controller: controller.clone(), address, bdevs, descriptors };
    let name = params.name.clone();
    let names = control.ask(move |sled| Ok(put(sled, &params, ssd, &namespaces)))?;
    undo.disarm();
    remove_luns_when_gone(control, name, &controller);
    Ok(names)
}

/// Has the LUNs on an SSD removed when the SSD is gone, by a thread of its own, as the caller waits for nothing.
fn remove_luns_when_gone(control: &Arc<Control>, name: String, controller: &Controller) {
    let control = Arc::downgrade(control);
    controller.when_gone(move || {
        let remove =
            move || control.upgrade().into_iter().for_each(|control| remove_luns_of_ssd(&control, &name));
        if let Err(error) = std::thread::Builder::new().name("pulled SSD".into()).spawn(remove) {
            tracing::error!(
                "the LUNs of an SSD that is gone are not removed: there is no thread for it: {error}"
            );
        }
    });
}

/// Refuses a vfio-user server that is attached: it serves one client. (VFIO refuses a second use of a function.)
fn check_unattached(sled: &Sled, address: &SsdAddress) -> Result<(), RpcError> {
    let mut others = sled.ssds.iter().filter(|_| matches!(address, SsdAddress::VfioUser(_)));
    match others.find(|(_, ssd)| ssd.address.is_same_as(address)) {
        Some((name, _)) => Err(RpcError::busy(format_args!(
            "parameter `traddr`: {address} is attached as {name}: use that, or detach it first"
        ))),
        None => Ok(()),
    }
}

/// Reserves names and identities for the block devices of all namespaces, or of none.
fn reserve_bdevs(
    control: &Control,
    params: &Attach,
    address: &SsdAddress,
    new: &NewSsd,
) -> Result<Vec<(String, Uuid)>, RpcError> {
    // `new` keeps the SSD: these handles, which the control thread drops, are never the last ones.
    let (namespaces, name, address) = (new.namespaces(), params.name.clone(), address.clone());
    check_number(params.max_bdevs, namespaces.len())?;
    control.ask(move |sled| reserve_all(&mut sled.bdevs, &name, &address, &namespaces))
}

/// Checks the number of namespaces. An SSD is attached with all of them or not at all, because a saved
/// configuration must give the same devices.
fn check_number(most: Option<u32>, namespaces: usize) -> Result<(), RpcError> {
    match most.map(usize::try_from) {
        Some(Ok(most)) if namespaces > most => Err(RpcError::errno(
            Errno::RANGE,
            format_args!(
                "parameter `max_bdevs`: the SSD has {namespaces} namespaces: allow as many, or leave it out"
            ),
        )),
        _ => Ok(()),
    }
}

fn check_off(params: &Attach) -> Result<(), RpcError> {
    let texts = [
        ("adrfam", &params.adrfam),
        ("priority", &params.priority),
        ("subnqn", &params.subnqn),
        ("hostnqn", &params.hostnqn),
        ("hostaddr", &params.hostaddr),
        ("hostsvcid", &params.hostsvcid),
        ("psk", &params.psk),
        ("dhchap_key", &params.dhchap_key),
        ("dhchap_ctrlr_key", &params.dhchap_ctrlr_key),
    ];
    texts.into_iter().try_for_each(|(name, value)| off(name, value.as_deref()))?;
    port_off(params.trsvcid.as_deref())?;
    let flags = [
        ("prchk_reftag", params.prchk_reftag),
        ("prchk_guard", params.prchk_guard),
        ("hdgst", params.hdgst),
        ("ddgst", params.ddgst),
        ("allow_unrecognized_csi", params.allow_unrecognized_csi),
        ("disable_sq_flow_control", params.disable_sq_flow_control),
    ];
    flags.into_iter().try_for_each(|(name, value)| off(name, value))?;
    off("fabrics_connect_timeout_us", params.fabrics_connect_timeout_us)?;
    off("multipath_opts", params.multipath_opts.clone())?;
    off("multipath", params.multipath.as_ref().filter(|&mode| *mode != PathMode::Disable).map(|_| true))
}

fn queue_pairs(wanted: Option<u32>) -> Result<Option<u16>, RpcError> {
    match wanted.map(u16::try_from) {
        None => Ok(None),
        Some(Ok(number)) if number > 0 => Ok(Some(number)),
        Some(_) => {
            Err(RpcError::invalid_params("parameter `num_io_queues`: a number from 1 to 65535, or left out"))
        }
    }
}

/// Adds the SSD, and a block device for each of its namespaces.
fn put(sled: &mut Sled, params: &Attach, ssd: Ssd, namespaces: &[Arc<Namespace>]) -> Vec<String> {
    for ((name, uuid), namespace) in ssd.bdevs.iter().zip(namespaces) {
        let source = Source::Namespace { ssd: params.name.clone(), id: namespace.id().0 };
        sled.bdevs.put(name, Bdev::new(*uuid, source, Volume::whole(namespace.clone())));
    }
    let names = ssd.bdevs.iter().map(|(name, _)| name.clone()).collect();
    let (trtype, traddr) = (ssd.address.transport(), ssd.address.to_string());
    let mut call = json!({ "name": params.name, "trtype": trtype, "traddr": traddr });
    if let (Some(call), Some(queues)) = (call.as_object_mut(), params.num_io_queues) {
        call.insert("num_io_queues".into(), queues.into());
    }
    sled.record.add(
        Subsystem::Bdev,
        &record_name(&params.name),
        Call::new("bdev_nvme_attach_controller", call),
    );
    sled.ssds.put(&params.name, ssd);
    names
}

/// Key of an SSD in the record. A name has no line break, so the key differs from all names of bdevs.
pub fn record_name(name: &str) -> String {
    format!("SSD\n{name}")
}

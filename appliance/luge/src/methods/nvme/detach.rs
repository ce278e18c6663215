//! `bdev_nvme_detach_controller`: removes an SSD's block devices with their LUNs, then shuts the SSD down.

use super::attach::record_name;
use super::path::{address, port_off};
use crate::control::{Bdev, Control, Sled, Ssd, Subsystem};
use crate::methods::definition::off;
use crate::methods::vhost::without_luns;
use luge_rpc::{RpcError, params};
use std::sync::Arc;

params! {
    /// Parameters of `bdev_nvme_detach_controller`.
    pub struct Detach {
        /// Name of the controller
        name: String,
        /// PCIe or VFIOUSER, or not given
        trtype: Option<String>,
        /// PCI address, or path of a vfio-user server, or not given
        traddr: Option<String>,
        /// Not supported: empty or not given
        adrfam: Option<String>,
        /// "0", empty or not given: an SSD has no port
        trsvcid: Option<String>,
        /// Not supported: empty or not given
        subnqn: Option<String>,
        /// Not supported: empty or not given
        hostaddr: Option<String>,
        /// Not supported: empty or not given
        hostsvcid: Option<String>,
    }
}

pub fn run(control: &Arc<Control>, params: Detach) -> Result<bool, RpcError> {
    let Detach { name, trtype, traddr, adrfam, trsvcid, subnqn, hostaddr, hostsvcid } = params;
    let texts = [("adrfam", adrfam), ("subnqn", subnqn), ("hostaddr", hostaddr), ("hostsvcid", hostsvcid)];
    texts.into_iter().try_for_each(|(name, value)| off(name, value))?;
    port_off(trsvcid.as_deref())?;
    let path = Path { trtype, traddr };
    let wanted = name.clone();
    let chosen = move |sled: &mut Sled| {
        let ssd = sled.ssds.get(&wanted)?;
        check_path(ssd, path)?;
        Ok(ssd.bdevs.iter().map(|(name, _)| name.clone()).collect())
    };
    let taken = name.clone();
    let (ssd, bdevs) = without_luns(control, chosen, move |sled| take(sled, &taken))?;
    drop(bdevs);
    let names = ssd.bdevs.clone();
    ssd.end();
    control.ask(move |sled| {
        names.iter().for_each(|(name, uuid)| sled.bdevs.release(name, *uuid));
        sled.ssds.release(&name);
        Ok(true)
    })
}

/// Path to an SSD, as far as it is given.
struct Path {
    trtype: Option<String>,
    traddr: Option<String>,
}

/// Checks that a path, as far as it is given, is the SSD's.
fn check_path(ssd: &Ssd, path: Path) -> Result<(), RpcError> {
    let trtype = path.trtype.unwrap_or_else(|| ssd.address.transport().to_owned());
    let traddr = path.traddr.unwrap_or_else(|| ssd.address.to_string());
    if address(&trtype, &traddr)?.is_same_as(&ssd.address) {
        return Ok(());
    }
    Err(RpcError::no_device(format_args!("parameter `traddr`: that controller is at {}", ssd.address)))
}

/// Removes an SSD with all of its block devices, or nothing if one is used.
fn take(sled: &mut Sled, name: &str) -> Result<(Ssd, Vec<Bdev>), RpcError> {
    let names: Vec<String> = sled.ssds.get(name)?.bdevs.iter().map(|(name, _)| name.clone()).collect();
    names.iter().try_for_each(|name| sled.bdevs.check_unused(name))?;
    let bdevs = names.iter().map(|name| sled.bdevs.take(name)).collect::<Result<_, _>>()?;
    sled.record.remove(Subsystem::Bdev, &record_name(name));
    Ok((sled.ssds.take(name)?, bdevs))
}

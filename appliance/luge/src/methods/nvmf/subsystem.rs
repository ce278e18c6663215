//! `nvmf_create_subsystem`, `nvmf_delete_subsystem`, `nvmf_get_subsystems`.

use super::target::{DISCOVERY, check_target};
use super::{describe, refusal};
use crate::control::{Call, Control, Nvmf, NvmfSubsystem, PrScope, Sled, Subsystem, User};
use crate::cpus::Cpus;
use crate::methods::definition::{listed, method, off, waiting_method};
use luge_core::CoreHandle;
use luge_nvme_target::{Nqn, SubsystemConfig};
use luge_rpc::{Code, Method, RpcError, params};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// Model number where none is given.
const MODEL: &str = "Luge";

/// Number of namespaces where none is given, as in SPDK.
const NAMESPACES: u32 = 32;

params! {
    /// Parameters of `nvmf_create_subsystem`.
    struct Create {
        /// Name of the subsystem (NQN), such as nqn.2016-06.io.spdk:cnode1
        nqn: String,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
        /// Serial number, 1 to 20 characters; made of the name if not given
        serial_number: Option<String>,
        /// Model number, 1 to 40 characters; Luge if not given
        model_number: Option<String>,
        /// Whether hosts that are not named may use it: clients of a socket name no host
        allow_any_host: Option<bool>,
        /// Largest namespace identifier, 1 to 1024; 32 if not given
        max_namespaces: Option<u32>,
        /// Smallest controller identifier; 1 if not given
        min_cntlid: Option<u16>,
        /// Largest controller identifier; 65519 if not given
        max_cntlid: Option<u16>,
        /// Mask of the cores that serve its queues; all if not given
        cpumask: Option<String>,
        /// Whose persistent reservations its namespaces have: those of all users of a bdev (volume), or of its tenant
        /// (vm); that of the sled if not given
        pr_scope: Option<PrScope>,
        /// Owner of its reservations where they are those of a tenant; if not given, it is alone
        tenant: Option<String>,
        /// Not supported: false or not given
        ana_reporting: Option<bool>,
        /// Not supported: 0 or not given
        dmrsl: Option<u32>,
        /// Not supported: 0 or not given
        wzsl: Option<u8>,
        /// Not supported: 0 or not given
        max_discard_size_kib: Option<u64>,
        /// Not supported: 0 or not given
        max_write_zeroes_size_kib: Option<u64>,
        /// Not supported: false or not given
        passthrough: Option<bool>,
        /// Taken for compatibility: controllers always have a subsystem reset
        enable_nssr: Option<bool>,
        /// Not supported: empty or not given
        admin_label: Option<String>,
    }
}

params! {
    /// Parameters of `nvmf_delete_subsystem`.
    struct Delete {
        /// Name of the subsystem
        nqn: String,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
    }
}

params! {
    /// Parameters of `nvmf_get_subsystems`.
    struct Get {
        /// Name of one subsystem; all if not given
        nqn: Option<String>,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        method(control, "nvmf_create_subsystem", "Make an NVMe subsystem", create),
        waiting_method(control, "nvmf_delete_subsystem", "Delete an NVMe subsystem", delete),
        method(control, "nvmf_get_subsystems", "List the NVMe subsystems", get),
    ]
}

fn create(control: &Arc<Control>, params: Create) -> Result<bool, RpcError> {
    check_target(params.tgt_name.as_deref())?;
    check_off(&params)?;
    let nqn = Nqn::new(&params.nqn)
        .map_err(|error| RpcError::invalid_params(format_args!("parameter `nqn`: {error}")))?;
    let cores = control.platform().cores_of(params.cpumask.as_deref())?;
    let cpus: Cpus = cores.iter().map(CoreHandle::id).collect();
    let config = SubsystemConfig {
        serial: params.serial_number.unwrap_or_else(|| serial(nqn.as_str())),
        model: params.model_number.unwrap_or_else(|| MODEL.into()),
        allow_any_host: params.allow_any_host.unwrap_or(false),
        namespaces_max: params.max_namespaces.filter(|&most| most > 0).unwrap_or(NAMESPACES),
        controller_ids: params.min_cntlid.unwrap_or(1)
            ..=params.max_cntlid.unwrap_or(SubsystemConfig::CONTROLLER_ID_MAX),
        cores,
        space: control.platform().space.clone(),
        nqn,
    };
    let scope = params.pr_scope.unwrap_or(control.platform().pr_scope);
    let owner = scope.owner(&params.nqn, params.tenant.as_deref());
    let mut call = call(&config);
    if let Some(scope) = params.pr_scope {
        call["pr_scope"] = json!(scope);
    }
    if let Some(tenant) = &params.tenant {
        call["tenant"] = tenant.as_str().into();
    }
    if params.cpumask.is_some() {
        call["cpumask"] = cpus.mask().into();
    }
    let name = params.nqn.clone();
    control.ask(move |sled| reserve(sled, &name))?;
    let name = params.nqn.clone();
    let undo = control.undo(move |sled| sled.nvmf.subsystems.release(&name));
    let target = luge_nvme_target::Subsystem::new(config).map_err(|error| refusal::subsystem(&error))?;
    control.ask(move |sled| {
        sled.record.add(Subsystem::Nvmf, &params.nqn, Call::new("nvmf_create_subsystem", call));
        sled.nvmf.subsystems.put(&params.nqn, NvmfSubsystem::new(target, owner));
        Ok(())
    })?;
    undo.disarm();
    Ok(true)
}

fn check_off(params: &Create) -> Result<(), RpcError> {
    off("ana_reporting", params.ana_reporting)?;
    off("dmrsl", params.dmrsl)?;
    off("wzsl", params.wzsl)?;
    off("max_discard_size_kib", params.max_discard_size_kib)?;
    off("max_write_zeroes_size_kib", params.max_write_zeroes_size_kib)?;
    off("passthrough", params.passthrough)?;
    off("admin_label", params.admin_label.clone())
}

/// Serial number of a subsystem that was given none: 20 characters that differ between names.
fn serial(nqn: &str) -> String {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, nqn.as_bytes()).simple().to_string().to_uppercase();
    id.chars().take(20).collect()
}

/// Parameters by which the subsystem is made again.
fn call(config: &SubsystemConfig) -> Value {
    json!({
        "nqn": config.nqn.as_str(),
        "allow_any_host": config.allow_any_host,
        "serial_number": config.serial,
        "model_number": config.model,
        "max_namespaces": config.namespaces_max,
        "min_cntlid": config.controller_ids.start(),
        "max_cntlid": config.controller_ids.end(),
    })
}

fn reserve(sled: &mut Sled, nqn: &str) -> Result<(), RpcError> {
    let exists = format_args!("Unable to create subsystem {nqn}: it already exists");
    if nqn == DISCOVERY || sled.nvmf.subsystems.check_free(nqn).is_err() {
        return Err(RpcError::new(Code::INTERNAL_ERROR, exists));
    }
    sled.nvmf.subsystems.reserve(nqn)
}

/// Deletes a subsystem with all that it has. Waits on this thread for requests in flight.
fn delete(control: &Arc<Control>, params: Delete) -> Result<bool, RpcError> {
    check_target(params.tgt_name.as_deref())?;
    let nqn = params.nqn.clone();
    let subsystem = control.ask(move |sled| take(sled, &nqn))?;
    let directories: Vec<_> =
        subsystem.listeners.values().map(|listener| listener.directory.clone()).collect();
    let bdevs: Vec<_> = subsystem.namespaces.values().cloned().collect();
    let (listeners, namespaces) = subsystem.into_parts();
    listeners.into_iter().for_each(crate::control::Listener::end);
    namespaces.into_iter().for_each(crate::control::ServedNamespace::end);
    control.ask(move |sled| {
        directories.iter().for_each(|directory| sled.nvmf.release(directory));
        let user = User::Subsystem(params.nqn.clone());
        bdevs.iter().for_each(|bdev| sled.bdevs.unclaim(bdev, &user));
        sled.nvmf.subsystems.release(&params.nqn);
        Ok(true)
    })
}

fn take(sled: &mut Sled, nqn: &str) -> Result<NvmfSubsystem, RpcError> {
    if nqn == DISCOVERY {
        return Err(RpcError::invalid_params("parameter `nqn`: the discovery subsystem is always there"));
    }
    let subsystem = sled.nvmf.find(nqn)?;
    Nvmf::check_no_vm(&sled.platform.vms, subsystem.listeners.keys())?;
    if subsystem.changes > 0 {
        return Err(RpcError::busy(format_args!("subsystem {nqn} is being changed: try again")));
    }
    let subsystem = sled.nvmf.subsystems.take(nqn)?;
    sled.record.remove_all(Subsystem::Nvmf, |made| made == nqn || made.starts_with(&format!("{nqn}\n")));
    Ok(subsystem)
}

fn get(control: &Arc<Control>, params: Get) -> Result<Box<RawValue>, RpcError> {
    check_target(params.tgt_name.as_deref())?;
    control.look(move |sled| {
        let subsystems = sled.nvmf.subsystems.iter();
        match params.nqn.as_deref() {
            None => {
                let all = subsystems.map(|(nqn, subsystem)| describe::subsystem(nqn, subsystem));
                listed(std::iter::once(describe::discovery()).chain(all).collect::<Vec<_>>())
            }
            Some(DISCOVERY) => listed([describe::discovery()]),
            Some(nqn) => listed([describe::subsystem(nqn, sled.nvmf.subsystems.get(nqn)?)]),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_that_is_made_fits_and_differs_between_names() {
        let (one, other) = (serial("nqn.2016-06.io.spdk:cnode1"), serial("nqn.2016-06.io.spdk:cnode2"));
        assert_eq!(one.len(), 20);
        assert_ne!(one, other);
        assert_eq!(one, serial("nqn.2016-06.io.spdk:cnode1"), "it stays after a restart");
    }
}

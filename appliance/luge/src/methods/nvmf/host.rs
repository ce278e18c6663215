//! `nvmf_subsystem_add_host`, `nvmf_subsystem_remove_host`, `nvmf_subsystem_allow_any_host`.

use super::target::check_target;
use crate::control::{Call, Control, Sled, Subsystem};
use crate::methods::definition::{method, off};
use luge_nvme_target::Nqn;
use luge_rpc::{Code, Method, RpcError, params};
use serde_json::json;
use std::sync::Arc;

params! {
    /// Parameters of `nvmf_subsystem_add_host`.
    struct Add {
        /// Name of the subsystem
        nqn: String,
        /// Name of the host (NQN)
        host: String,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
        /// Not supported: empty or not given
        psk: Option<String>,
        /// Not supported: empty or not given
        dhchap_key: Option<String>,
        /// Not supported: empty or not given
        dhchap_ctrlr_key: Option<String>,
    }
}

params! {
    /// Parameters of `nvmf_subsystem_remove_host`.
    struct Remove {
        /// Name of the subsystem
        nqn: String,
        /// Name of the host (NQN)
        host: String,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
        /// Taken for compatibility: no client is cut off, for clients of a socket name no host
        timeout_ms: Option<u64>,
    }
}

params! {
    /// Parameters of `nvmf_subsystem_allow_any_host`.
    struct AllowAny {
        /// Name of the subsystem
        nqn: String,
        /// Whether hosts that are not named may use it: clients of a socket name no host
        allow_any_host: bool,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        method(control, "nvmf_subsystem_add_host", "Allow a host to use an NVMe subsystem", add),
        method(
            control,
            "nvmf_subsystem_remove_host",
            "Allow a host no longer to use an NVMe subsystem",
            remove,
        ),
        method(
            control,
            "nvmf_subsystem_allow_any_host",
            "Allow any host to use an NVMe subsystem, or not",
            any,
        ),
    ]
}

fn host(name: &str) -> Result<Nqn, RpcError> {
    Nqn::new(name).map_err(|error| RpcError::invalid_params(format_args!("parameter `host`: {error}")))
}

fn add(control: &Arc<Control>, params: Add) -> Result<bool, RpcError> {
    check_target(params.tgt_name.as_deref())?;
    off("psk", params.psk)?;
    off("dhchap_key", params.dhchap_key)?;
    off("dhchap_ctrlr_key", params.dhchap_ctrlr_key)?;
    let (nqn, host) = (params.nqn, host(&params.host)?);
    control.ask(move |sled| {
        let name = record_name(&nqn, host.as_str());
        let call = json!({ "nqn": nqn, "host": host.as_str() });
        if !sled.nvmf.find(&nqn)?.target.allow_host(host) {
            return Err(internal("parameter `host`: that host is allowed already"));
        }
        sled.record.add(Subsystem::Nvmf, &name, Call::new("nvmf_subsystem_add_host", call));
        Ok(true)
    })
}

fn remove(control: &Arc<Control>, params: Remove) -> Result<bool, RpcError> {
    check_target(params.tgt_name.as_deref())?;
    let (nqn, host) = (params.nqn, host(&params.host)?);
    control.ask(move |sled| {
        if !sled.nvmf.find(&nqn)?.target.disallow_host(&host) {
            return Err(internal("parameter `host`: that host is not allowed by name"));
        }
        sled.record.remove(Subsystem::Nvmf, &record_name(&nqn, host.as_str()));
        Ok(true)
    })
}

/// SPDK's code for hosts that are there already, or not there.
fn internal(message: &str) -> RpcError {
    RpcError::new(Code::INTERNAL_ERROR, message)
}

fn any(control: &Arc<Control>, params: AllowAny) -> Result<bool, RpcError> {
    check_target(params.tgt_name.as_deref())?;
    control.ask(move |sled| allow_any(sled, &params))
}

fn allow_any(sled: &mut Sled, params: &AllowAny) -> Result<bool, RpcError> {
    sled.nvmf.find(&params.nqn)?.target.allow_any_host(params.allow_any_host);
    sled.record
        .change(Subsystem::Nvmf, &params.nqn, |call| call["allow_any_host"] = params.allow_any_host.into());
    Ok(true)
}

/// Key of a host in the record. A name has no line break, so the key differs from those of subsystems.
fn record_name(nqn: &str, host: &str) -> String {
    format!("{nqn}\nhost {host}")
}

//! `load_config` at run time: makes all of a configuration's calls, or none.
//!
//! Invariants
//! - All calls are checked first: each must be undoable, or change nothing.
//! - If a call fails, the calls that were made are undone in reverse order.
//!
//! Not here: the load at the start (`framework`), where nothing else exists.

use super::host::Host;
use super::options;
use crate::config::{Callers, Config};
use crate::control::Call;
use luge_rpc::{Caller, Dispatcher, RpcError};
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};

/// A method that makes or starts an object, with its inverse.
struct Maker {
    method: &'static str,
    /// The method that undoes it.
    remover: &'static str,
    /// Parameter that names the object. The maker has this parameter too, or returns the name.
    name: &'static str,
    /// Parameter that both methods have, and that names what the object is a part of.
    whole: Option<&'static str>,
    /// Further parameter that both methods may have.
    further: Option<&'static str>,
    /// Other parameters of the remover.
    parameters: fn() -> Value,
}

impl Maker {
    const fn new(method: &'static str, remover: &'static str, name: &'static str) -> Self {
        Self { method, remover, name, whole: None, further: None, parameters: || json!({}) }
    }

    /// An object that is a part of what the parameter `whole` names.
    const fn of(self, whole: &'static str) -> Self {
        Self { whole: Some(whole), ..self }
    }

    /// An object that a further parameter names too, where it is given.
    const fn and(self, further: &'static str) -> Self {
        Self { further: Some(further), ..self }
    }

    const fn with(self, parameters: fn() -> Value) -> Self {
        Self { parameters, ..self }
    }
}

const MAKERS: &[Maker] = &[
    Maker::new("bdev_aio_create", "bdev_aio_delete", "name"),
    Maker::new("bdev_malloc_create", "bdev_malloc_delete", "name"),
    Maker::new("bdev_null_create", "bdev_null_delete", "name"),
    Maker::new("bdev_nvme_attach_controller", "bdev_nvme_detach_controller", "name"),
    Maker::new("bdev_split_create", "bdev_split_delete", "base_bdev"),
    // A front end may have connected meanwhile: it must not keep the rest from being undone.
    Maker::new("vhost_create_blk_controller", "vhost_delete_controller", "ctrlr")
        .with(|| json!({ "force": true })),
    Maker::new(CREATE_SCSI, "vhost_delete_controller", "ctrlr").with(|| json!({ "force": true })),
    Maker::new("vhost_scsi_controller_add_target", "vhost_scsi_controller_remove_target", "scsi_target_num")
        .of("ctrlr")
        .and("lun"),
    Maker::new("nvmf_create_transport", "nvmf_delete_transport", "trtype"),
    Maker::new("nvmf_create_subsystem", "nvmf_delete_subsystem", "nqn"),
    Maker::new("nvmf_subsystem_add_ns", "nvmf_subsystem_remove_ns", "nsid").of("nqn"),
    Maker::new("nvmf_subsystem_add_listener", "nvmf_subsystem_remove_listener", "listen_address").of("nqn"),
    Maker::new("nvmf_subsystem_add_host", "nvmf_subsystem_remove_host", "host").of("nqn"),
    Maker::new("vm_create", "vm_delete", "name"),
    // Its guest has only begun to boot: there is nothing that it must be given time to end.
    Maker::new("vm_start", "vm_stop", "name").with(|| json!({ "timeout_s": 0 })),
];

/// Method that creates a SCSI controller.
const CREATE_SCSI: &str = "vhost_create_scsi_controller";

/// Method whose effect ends with the controller that a call before it has made.
const START_SCSI: &str = "vhost_start_scsi_controller";

/// Makes the calls of a configuration, or none.
///
/// # Errors
/// Error of the call that cannot be made, with its place; -16 while another is loaded.
pub fn load(
    host: &Host,
    dispatcher: &Dispatcher,
    config: &Config,
    caller: &Caller<'_>,
) -> Result<(), RpcError> {
    let _one_at_a_time = host.lock_loading()?;
    config.check(|method| check(dispatcher, method))?;
    config.calls().try_for_each(|call| check_start(config, call))?;
    let (level, made) = (host.log.level(), Mutex::new(Vec::new()));
    let call = |method: &str, params: Value, caller: &Caller<'_>| {
        let result = dispatcher.prepare(dispatcher.stage(), method, params.clone())?.value(caller)?;
        made.lock().unwrap_or_else(PoisonError::into_inner).extend(undoing(method, &params, &result));
        Ok(result)
    };
    let applied = config.apply(&Callers {
        here: &|method, params| call(method, params, caller),
        beside: &|method, params| call(method, params, &Caller::local()),
    });
    let applied = applied.and_then(|()| config.keep_order(&host.control));
    applied.map_err(|error| {
        host.log.set_level(level);
        undo(dispatcher, made.into_inner().unwrap_or_else(PoisonError::into_inner), error)
    })
}

/// Whether a call of the method can be undone, or changes nothing that matters.
fn check(dispatcher: &Dispatcher, method: &str) -> Result<(), RpcError> {
    dispatcher.find(method)?;
    let is_maker = MAKERS.iter().any(|maker| maker.method == method) || method == START_SCSI;
    if is_maker || options::is_option(method) || method == "bdev_get_bdevs" {
        return Ok(());
    }
    Err(RpcError::invalid(
        "that is no part of a configuration, which only makes things and sets options: call it by itself",
    ))
}

/// Refuses the start of a controller that the configuration does not create: nothing would stop it again.
fn check_start(config: &Config, call: &Call) -> Result<(), RpcError> {
    let controller = &call.params["ctrlr"];
    let creates = |other: &Call| other.method == CREATE_SCSI && other.params["ctrlr"] == *controller;
    if call.method != START_SCSI || config.calls().any(creates) {
        return Ok(());
    }
    Err(RpcError::invalid_params(format_args!(
        "{START_SCSI} {controller}: a configuration starts only controllers that it creates: call it by itself"
    )))
}

/// Inverse of a call, if the call made an object.
fn undoing(method: &str, params: &Value, result: &Value) -> Option<Call> {
    let maker = MAKERS.iter().find(|maker| maker.method == method)?;
    // A name of -1 asks for any that is free.
    let is_name = |name: &&Value| !name.is_null() && **name != json!(-1);
    let name = params.get(maker.name).filter(is_name).unwrap_or(result);
    let mut undoing = (maker.parameters)();
    undoing[maker.name] = name.clone();
    if let Some(whole) = maker.whole {
        undoing[whole] = params[whole].clone();
    }
    if let Some((further, value)) = maker.further.and_then(|further| Some((further, params.get(further)?))) {
        undoing[further] = value.clone();
    }
    Some(Call::new(maker.remover, undoing))
}

/// Undoes calls in reverse order; adds failures to the error.
fn undo(dispatcher: &Dispatcher, made: Vec<Call>, mut error: RpcError) -> RpcError {
    for call in made.into_iter().rev() {
        let shown = format!("{} {}", call.method, call.params);
        if let Err(left) = dispatcher.dispatch(&call.method, call.params) {
            tracing::error!("a configuration could not be undone: {shown}: {left}");
            error = error.and(format_args!("and {shown} failed: {left}"));
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_made_is_unmade_by_the_name_it_was_given_or_got() {
        let call = |method, params, result| undoing(method, &params, &result);
        assert_eq!(
            call("bdev_malloc_create", json!({"name": "a"}), json!("a")),
            Some(Call::new("bdev_malloc_delete", json!({"name": "a"})))
        );
        assert_eq!(
            call("bdev_malloc_create", json!({"name": null}), json!("Malloc0")),
            Some(Call::new("bdev_malloc_delete", json!({"name": "Malloc0"})))
        );
        assert_eq!(
            call("bdev_split_create", json!({"base_bdev": "n"}), json!(["np0"])),
            Some(Call::new("bdev_split_delete", json!({"base_bdev": "n"})))
        );
        assert_eq!(
            call("vhost_create_blk_controller", json!({"ctrlr": "c"}), json!(true)),
            Some(Call::new("vhost_delete_controller", json!({"ctrlr": "c", "force": true})))
        );
        let add = "vhost_scsi_controller_add_target";
        let remove = |parameters| Some(Call::new("vhost_scsi_controller_remove_target", parameters));
        assert_eq!(
            call(add, json!({"ctrlr": "c", "scsi_target_num": -1, "bdev_name": "b"}), json!(2)),
            remove(json!({"ctrlr": "c", "scsi_target_num": 2}))
        );
        assert_eq!(
            call(add, json!({"ctrlr": "c", "scsi_target_num": 0, "lun": 7, "bdev_name": "b"}), json!(0)),
            remove(json!({"ctrlr": "c", "scsi_target_num": 0, "lun": 7}))
        );
        assert_eq!(
            call("vm_start", json!({"name": "v"}), json!(true)),
            Some(Call::new("vm_stop", json!({"name": "v", "timeout_s": 0})))
        );
        assert_eq!(
            call("nvmf_subsystem_add_ns", json!({"nqn": "q", "namespace": {"bdev_name": "b"}}), json!(3)),
            Some(Call::new("nvmf_subsystem_remove_ns", json!({"nqn": "q", "nsid": 3})))
        );
        let address = json!({"trtype": "VFIOUSER", "traddr": "/d"});
        assert_eq!(
            call("nvmf_subsystem_add_listener", json!({"nqn": "q", "listen_address": address}), json!(true)),
            Some(Call::new("nvmf_subsystem_remove_listener", json!({"nqn": "q", "listen_address": address})))
        );
        assert_eq!(call("bdev_get_bdevs", json!({}), json!([])), None);
    }
}

//! `save_config`, `load_config` and the methods that SPDK's client builds them from.

use super::definition::{RUNTIME, listed};
use super::framework;
use super::host::Host;
use super::load::load;
use crate::config::{Config, Part};
use crate::control::{Sled, Subsystem};
use luge_rpc::{Dispatcher, Method, NoParams, Param, ParamValue, Params, RpcError, params};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, Weak};

params! {
    /// Parameters of `framework_get_config`.
    struct GetConfig {
        /// Name of the subsystem: bdev, vhost_scsi, vhost_blk, nvmf or vm
        name: String,
        /// Taken for compatibility: Luge saves no batches
        with_batches: Option<bool>,
    }
}

/// Parameters of `load_config`: the result of `save_config`. Other members are ignored, as in a
/// file.
#[derive(Deserialize)]
struct LoadConfig {
    subsystems: Vec<Part>,
}

impl Params for LoadConfig {
    const LIST: &'static [Param] = &[Param {
        name: "subsystems",
        kind: <Vec<Part> as ParamValue>::KIND,
        required: true,
        help: "The subsystems, each with its calls",
    }];
}

impl ParamValue for Part {
    const KIND: &'static str = "subsystem";
}

pub fn methods(host: &Arc<Host>, dispatcher: &Weak<Dispatcher>) -> Vec<Method> {
    let (get, save) = (host.control.clone(), host.control.clone());
    let (host, dispatcher) = (host.clone(), dispatcher.clone());
    vec![
        Method::new("framework_get_subsystems", "List the parts of a configuration", RUNTIME, subsystems),
        Method::new(
            "framework_get_config",
            "Show one part of the configuration",
            RUNTIME,
            move |params: GetConfig| {
                let subsystem = find(&params.name)?;
                get.ask(move |sled| listed(sled.calls(subsystem)))
            },
        ),
        Method::new("save_config", "Show the configuration", RUNTIME, move |_: NoParams| {
            save.ask(|sled| listed(whole(sled)))
        }),
        Method::waiting(
            "load_config",
            "Make the calls of a configuration: all, or none",
            RUNTIME,
            move |params: LoadConfig, caller| {
                let config: Config = params.subsystems.into_iter().collect();
                load(&host, &*framework::alive(&dispatcher)?, &config, caller).map(|()| true)
            },
        ),
    ]
}

fn subsystems(_: NoParams) -> Result<Value, RpcError> {
    let describe =
        |subsystem: Subsystem| json!({ "subsystem": subsystem.name(), "depends_on": subsystem.depends_on() });
    Ok(Subsystem::ALL.map(describe).into_iter().collect())
}

fn find(name: &str) -> Result<Subsystem, RpcError> {
    let found = Subsystem::ALL.into_iter().find(|subsystem| subsystem.name() == name);
    found.ok_or_else(|| {
        let names = Subsystem::ALL.map(Subsystem::name).join(", ");
        RpcError::invalid_params(format_args!(
            "parameter `name`: there is no such subsystem: choose one of {names}"
        ))
    })
}

fn whole(sled: &Sled) -> Value {
    let part =
        |subsystem: Subsystem| json!({ "subsystem": subsystem.name(), "config": sled.calls(subsystem) });
    json!({ "subsystems": Subsystem::ALL.map(part) })
}

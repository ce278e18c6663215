//! `save_config`, `load_config` and the methods that SPDK's client builds them from.

use super::{RUNTIME, run_call};
use crate::config::{Config, Part};
use crate::control::{Control, Sled, Subsystem};
use luge_rpc::{Dispatcher, Method, NoParams, RpcError, params};
use serde_json::{Value, json};
use std::sync::{Arc, Weak};

params! {
    /// Parameters of `framework_get_config`.
    struct GetConfig {
        /// Name of the subsystem: bdev, vhost_blk or vm
        name: String,
        /// Taken for compatibility: Luge saves no batches
        with_batches: Option<bool>,
    }
}

params! {
    /// Parameters of `load_config`: what `save_config` gave.
    struct LoadConfig {
        /// The subsystems, each with its calls
        subsystems: Vec<Part>,
    }
}

impl luge_rpc::ParamValue for Part {
    const KIND: &'static str = "subsystem";
}

pub fn methods(control: &Arc<Control>, dispatcher: &Weak<Dispatcher>) -> Vec<Method> {
    let (get, save, dispatcher) = (control.clone(), control.clone(), dispatcher.clone());
    vec![
        Method::new("framework_get_subsystems", "List the parts of a configuration", RUNTIME, subsystems),
        Method::new(
            "framework_get_config",
            "Show one part of the configuration",
            RUNTIME,
            move |params: GetConfig| {
                let subsystem = find(&params.name)?;
                get.ask(move |sled| Ok(sled.calls(subsystem)))
            },
        ),
        Method::new("save_config", "Show the configuration", RUNTIME, move |_: NoParams| {
            save.ask(|sled| Ok(whole(sled)))
        }),
        Method::new(
            "load_config",
            "Make the calls of a configuration",
            RUNTIME,
            move |params: LoadConfig| {
                let config: Config = params.subsystems.into_iter().collect();
                config.apply(|method, params| run_call(&dispatcher, method, params)).map(|()| true)
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
            "parameter `name`: there is no such subsystem; there are {names}"
        ))
    })
}

fn whole(sled: &Sled) -> Value {
    let part =
        |subsystem: Subsystem| json!({ "subsystem": subsystem.name(), "config": sled.calls(subsystem) });
    json!({ "subsystems": Subsystem::ALL.map(part) })
}

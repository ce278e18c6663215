//! The RPC methods, one file per family, with the names, parameters and results of SPDK.
//!
//! Path: client -> `rpc` -> **methods** -> control thread.
//!
//! Invariants
//! - A call that fails has changed nothing.
//! - A parameter that SPDK has and Luge has not is taken only with the value that means "off",
//!   or where it has no effect on what Luge makes; `options` has the methods of which that is not so.
//!
//! Not here: the wire (`rpc`), what exists (`control`).

mod bdev;
mod config;
mod cpu_times;
mod framework;
mod load;
mod log;
mod nvme;
mod options;
mod vhost;
mod vm;

use crate::config::Config;
use crate::control::Control;
use crate::log::Log;
use luge_rpc::{Dispatcher, Method, Params, RpcError, Stage};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub use framework::start_init;

/// Where most methods work.
const RUNTIME: &[Stage] = &[Stage::Runtime];
/// Where methods work that only look, or set the log.
const ANY: &[Stage] = &[Stage::Startup, Stage::Runtime];

/// What methods work with.
pub struct Host {
    /// What exists.
    pub control: Arc<Control>,
    /// The log.
    pub log: Arc<Log>,
    /// The configuration to load at the start.
    pub config: Config,
    /// Held while that is loaded.
    pub loading: Mutex<()>,
}

impl Host {
    fn starting(&self) -> MutexGuard<'_, ()> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All methods.
#[must_use]
pub fn dispatcher(host: &Arc<Host>) -> Arc<Dispatcher> {
    Arc::new_cyclic(|me: &Weak<Dispatcher>| {
        let families = [
            bdev::methods(&host.control),
            config::methods(host, me),
            framework::methods(host, me),
            log::methods(&host.log),
            nvme::methods(&host.control),
            options::methods(&host.control),
            vhost::methods(&host.control),
            vm::methods(&host.control),
        ];
        Dispatcher::new(families.into_iter().flatten())
    })
}

/// A method that works with the control thread.
fn method<P: Params, R: Serialize + 'static>(
    control: &Arc<Control>,
    name: &'static str,
    help: &'static str,
    run: fn(&Arc<Control>, P) -> Result<R, RpcError>,
) -> Method {
    let control = control.clone();
    Method::new(name, help, RUNTIME, move |params| run(&control, params))
}

/// A method whose calls wait for a guest. Only so many may wait at once, so that there is room for others.
fn waiting_method<P: Params, R: Serialize + 'static>(
    control: &Arc<Control>,
    name: &'static str,
    help: &'static str,
    run: fn(&Arc<Control>, P) -> Result<R, RpcError>,
) -> Method {
    let control = control.clone();
    Method::waiting(name, help, RUNTIME, move |params, caller| {
        let _permit = caller.wait_permit()?;
        run(&control, params)
    })
}

/// Writes a list on the control thread, where it is made: as values it takes many times its text,
/// and many may ask for it.
fn listed(list: impl Serialize) -> Result<Box<RawValue>, RpcError> {
    to_raw_value(&list).map_err(RpcError::internal)
}

/// Refuses a parameter that Luge does not have, unless it has the value that means "off".
fn off<T: Default + PartialEq>(name: &str, value: Option<T>) -> Result<(), RpcError> {
    match value {
        Some(value) if value != T::default() => Err(RpcError::unsupported(format_args!(
            "parameter `{name}`: Luge does not support that, leave it out"
        ))),
        _ => Ok(()),
    }
}

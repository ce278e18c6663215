//! Definition of methods: stages, constructors, lists as results, refusals of parameters.
//!
//! Path: client -> `rpc` -> **methods** -> control thread.

use crate::control::Control;
use luge_rpc::{Method, Params, RpcError, Stage};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;

/// Stage of most methods.
pub const RUNTIME: &[Stage] = &[Stage::Runtime];
/// Stages of methods that only read, or set the log level.
pub const ANY: &[Stage] = &[Stage::Startup, Stage::Runtime];

/// Makes a method that works with the control thread.
pub fn method<P: Params, R: Serialize + 'static>(
    control: &Arc<Control>,
    name: &'static str,
    help: &'static str,
    run: fn(&Arc<Control>, P) -> Result<R, RpcError>,
) -> Method {
    let control = control.clone();
    Method::new(name, help, RUNTIME, move |params| run(&control, params))
}

/// Makes a method whose calls wait for a guest. The number of calls that wait at once is limited, so
/// that other calls find a free thread.
pub fn waiting_method<P: Params, R: Serialize + 'static>(
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

/// Serializes a list on the control thread, where it is made: as text it needs a fraction of the
/// memory of its values, and many clients may ask for it at once.
pub fn listed(list: impl Serialize) -> Result<Box<RawValue>, RpcError> {
    to_raw_value(&list).map_err(RpcError::internal)
}

/// Refuses a parameter that Luge does not have, unless it has the value that means "off".
pub fn off<T: Default + PartialEq>(name: &str, value: Option<T>) -> Result<(), RpcError> {
    match value {
        Some(value) if value != T::default() => Err(RpcError::unsupported(format_args!(
            "parameter `{name}`: Luge does not support that, leave it out"
        ))),
        _ => Ok(()),
    }
}

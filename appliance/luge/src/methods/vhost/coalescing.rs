//! `vhost_controller_set_coalescing`: delays interrupts of a controller while its guest sends many requests.

use crate::control::{Call, Control, Sled};
use crate::methods::definition::method;
use luge_rpc::{Method, RpcError, params};
use luge_vhost::{CoalescingConfig, INTERRUPT_DELAY_MAX};
use serde_json::json;
use std::sync::Arc;

params! {
    /// Parameters of `vhost_controller_set_coalescing`.
    struct Set {
        /// Name of the controller
        ctrlr: String,
        /// Delay of interrupts at twice the threshold in microseconds, 1000 at most; 0 for none
        delay_base_us: u32,
        /// Requests per second of a queue up to which its interrupts are not delayed; more than 0
        iops_threshold: u32,
    }
}

pub fn method_of(control: &Arc<Control>) -> Method {
    let help = "Delay the interrupts of a controller while its guest sends many requests";
    method(control, "vhost_controller_set_coalescing", help, |control, params: Set| {
        let config = config(&params)?;
        control.ask(move |sled| set(sled, &params.ctrlr, config))
    })
}

fn config(params: &Set) -> Result<CoalescingConfig, RpcError> {
    let Set { delay_base_us, iops_threshold, .. } = *params;
    let most = INTERRUPT_DELAY_MAX.as_micros();
    if u128::from(delay_base_us) > most {
        return Err(RpcError::invalid_params(format_args!(
            "parameter `delay_base_us`: an interrupt is delayed by {most} us at most, not {delay_base_us}"
        )));
    }
    if delay_base_us > 0 && iops_threshold == 0 {
        return Err(RpcError::invalid_params(
            "parameter `iops_threshold`: write the requests per second above which interrupts are delayed, at least 1",
        ));
    }
    Ok(CoalescingConfig { delay_base_us, iops_threshold })
}

fn set(sled: &mut Sled, name: &str, config: CoalescingConfig) -> Result<bool, RpcError> {
    let endpoint = sled.endpoints.get(name)?;
    endpoint.server.coalescing().set(config);
    let CoalescingConfig { delay_base_us, iops_threshold } = config;
    let call = json!({ "ctrlr": name, "delay_base_us": delay_base_us, "iops_threshold": iops_threshold });
    let call = Call::new("vhost_controller_set_coalescing", call);
    sled.record.set_detail(endpoint.device.subsystem(), name, "coalescing", call);
    Ok(true)
}

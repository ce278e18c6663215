//! `luge_get_host`: the machine that Luge runs on, as `luge host` shows it, and what costs the cores latency.

use super::definition::{RUNTIME, listed};
use crate::control::Control;
use luge_host::Report;
use luge_rpc::{Method, NoParams};
use std::sync::Arc;

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    let control = control.clone();
    let help = "Show the host: SSDs, hugepages, what costs latency";
    vec![Method::new("luge_get_host", help, RUNTIME, move |_: NoParams| {
        let platform = control.platform();
        listed(Report::of(&platform.sysfs, Some(&platform.cpus().list())))
    })]
}

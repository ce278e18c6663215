//! `vhost_*`: devices on vhost-user sockets.

mod blk;
mod coalescing;
mod delete;
mod list;
mod listener;

use crate::control::Control;
use luge_rpc::Method;
use std::sync::Arc;

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        blk::method_of(control),
        list::method_of(control),
        coalescing::method_of(control),
        delete::method_of(control),
    ]
}

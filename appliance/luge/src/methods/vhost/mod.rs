//! `vhost_*`: devices on vhost-user sockets.

mod blk;
mod coalescing;
mod delete;
mod list;
mod listener;
mod scsi;

use crate::control::Control;
use luge_rpc::Method;
use std::sync::Arc;

pub use scsi::{remove_luns_of_ssd, without_luns};

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    let mut methods = vec![
        blk::method_of(control),
        list::method_of(control),
        coalescing::method_of(control),
        delete::method_of(control),
    ];
    methods.extend(scsi::methods(control));
    methods
}

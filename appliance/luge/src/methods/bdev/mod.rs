//! `bdev_*`: block devices that are made, split, shown and deleted.

mod aio;
mod create;
mod delete;
mod histogram;
mod latency;
mod list;
mod malloc;
mod null;
mod qos;
mod reset_iostat;
mod resize;
mod resize_status;
mod split;
mod statistics;

use crate::control::Control;
use luge_rpc::Method;
use std::sync::Arc;

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    let families = [
        aio::methods(control),
        delete::methods(control),
        histogram::methods(control),
        latency::methods(control),
        list::methods(control),
        malloc::methods(control),
        null::methods(control),
        qos::methods(control),
        reset_iostat::methods(control),
        resize::methods(control),
        split::methods(control),
        statistics::methods(control),
    ];
    families.into_iter().flatten().collect()
}

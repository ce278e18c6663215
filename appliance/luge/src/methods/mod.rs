//! The RPC methods, one file per family, with the names, parameters and results of SPDK.
//!
//! Path: client -> `rpc` -> **methods** -> control thread.
//!
//! Invariants
//! - A call that fails changes nothing.
//! - A parameter of SPDK that Luge does not support is accepted only with the value that means
//!   "off", or where it would change nothing; exceptions are in `options`.
//!
//! Not here: the wire format (`rpc`), the objects (`control`).

mod bdev;
mod config;
mod cpu_times;
mod definition;
mod framework;
mod host;
mod host_report;
mod last_words;
mod load;
mod log;
mod nvme;
mod nvmf;
mod options;
mod trace;
mod vhost;
mod vm;

use luge_rpc::Dispatcher;
use std::sync::{Arc, Weak};

pub use framework::start_init;
pub use host::Host;

/// Makes the dispatcher of all methods.
#[must_use]
pub fn dispatcher(host: &Arc<Host>) -> Arc<Dispatcher> {
    Arc::new_cyclic(|me: &Weak<Dispatcher>| {
        let families = [
            bdev::methods(&host.control),
            config::methods(host, me),
            framework::methods(host, me),
            host_report::methods(&host.control),
            last_words::methods(&host.control),
            log::methods(&host.log),
            nvme::methods(&host.control),
            nvmf::methods(&host.control),
            options::methods(&host.control),
            trace::methods(),
            vhost::methods(&host.control),
            vm::methods(&host.control),
        ];
        Dispatcher::new(families.into_iter().flatten())
    })
}

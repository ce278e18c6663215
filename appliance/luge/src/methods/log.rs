//! `log_*`: the log level.

use super::definition::ANY;
use crate::log::{Log, LogLevel};
use luge_rpc::{Method, NoParams, params};
use serde_json::json;
use std::sync::Arc;

params! {
    /// Parameters of `log_set_level`.
    struct SetLevel {
/// Least severe level to log
        level: LogLevel,
    }
}

pub fn methods(log: &Arc<Log>) -> Vec<Method> {
    // SPDK has a level for syslog and one for the screen; Luge has one log.
    let levels = ["log_get_level", "log_get_print_level"].into_iter().map(|name| {
        let log = log.clone();
        Method::new(name, "Show how much is logged", ANY, move |_: NoParams| Ok(log.level()))
    });
    let setters = ["log_set_level", "log_set_print_level"].into_iter().map(|name| {
        let log = log.clone();
        Method::new(name, "Set how much is logged", ANY, move |params: SetLevel| {
            log.set_level(params.level);
            Ok(true)
        })
    });
    let flags =
        Method::new("log_get_flags", "List the flags of the log: there are none", ANY, |_: NoParams| {
            Ok(json!({}))
        });
    levels.chain(setters).chain([flags]).collect()
}

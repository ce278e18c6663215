//! `log_*`: how much is logged.

use super::ANY;
use crate::log::{Log, LogLevel};
use luge_rpc::{Method, NoParams, params};
use std::sync::Arc;

params! {
    /// Parameters of `log_set_level`.
    struct SetLevel {
        /// How much to log
        level: LogLevel,
    }
}

pub fn methods(log: &Arc<Log>) -> Vec<Method> {
    let (get, set) = (log.clone(), log.clone());
    vec![
        Method::new("log_get_level", "Show how much is logged", ANY, move |_: NoParams| Ok(get.level())),
        Method::new("log_set_level", "Set how much is logged", ANY, move |params: SetLevel| {
            set.set_level(params.level);
            Ok(true)
        }),
    ]
}

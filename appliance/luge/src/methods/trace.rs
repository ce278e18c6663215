//! `luge_get_trace`: the last events of the process.

use super::definition::{ANY, listed};
use crate::trace::event;
use luge_rpc::{Method, RpcError, params};
use luge_trace::current_trace;
use serde_json::json;
use serde_json::value::RawValue;

/// Number of events if not given.
const COUNT: u32 = 200;

params! {
    /// Parameters of `luge_get_trace`.
    struct Get {
        /// Number of events, the newest ones; 200 if not given
        count: Option<u32>,
    }
}

pub fn methods() -> Vec<Method> {
    vec![Method::new("luge_get_trace", "Show the last events of this process", ANY, run)]
}

fn run(params: Get) -> Result<Box<RawValue>, RpcError> {
    let trace = current_trace();
    let trace = trace.ok_or_else(|| RpcError::invalid_state("this process records no events"))?;
    let count = usize::try_from(params.count.unwrap_or(COUNT)).unwrap_or(usize::MAX);
    let first = trace.records.len().saturating_sub(count);
    let events: Vec<_> = trace.records.iter().skip(first).map(event).collect();
    listed(json!({ "pid": trace.process, "events": events }))
}

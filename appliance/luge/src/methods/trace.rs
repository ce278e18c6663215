//! `luge_get_trace`: the last events of the process.

use super::definition::{ANY, listed};
use crate::trace::event;
use luge_rpc::{Method, RpcError, params};
use luge_trace::current_trace;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::{Mutex, PoisonError};

/// Number of events if not given.
const COUNT: u32 = 200;
/// Most events of an answer.
const COUNT_MAX: u32 = 10_000;

/// Held while events are collected: their values need several times the memory of the answer.
static COLLECTING: Mutex<()> = Mutex::new(());

params! {
    /// Parameters of `luge_get_trace`.
    struct Get {
        /// Number of events, the newest ones; 200 if not given, at most 10000
        count: Option<u32>,
    }
}

pub fn methods() -> Vec<Method> {
    vec![Method::new("luge_get_trace", "Show the last events of this process", ANY, run)]
}

fn run(params: Get) -> Result<Box<RawValue>, RpcError> {
    let _one_at_a_time = COLLECTING.lock().unwrap_or_else(PoisonError::into_inner);
    let trace = current_trace();
    let trace = trace.ok_or_else(|| RpcError::invalid_state("this process records no events"))?;
    let count = usize::try_from(params.count.unwrap_or(COUNT).min(COUNT_MAX)).unwrap_or(usize::MAX);
    let first = trace.records.len().saturating_sub(count);
    let events: Vec<_> = trace.records.iter().skip(first).map(event).collect();
    listed(json!({ "pid": trace.process, "events": events }))
}

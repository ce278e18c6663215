//! The trace of a running Luge, by its RPC socket.

use super::print::kind_word;
use luge_rpc::{CallError, Client};
use luge_trace::{Kind, Record, Source, Trace};
use serde_json::{Value, json};
use std::path::Path;

/// Asks the Luge at a socket for the newest events that it has in memory, as many as it tells at once.
pub(super) fn trace_at(socket: &Path) -> Result<Trace, CallError> {
    let answer = Client::connect(socket)?.call("luge_get_trace", json!({ "count": u32::MAX }))?;
    let events = answer["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let process = answer["pid"].as_u64().unwrap_or(0);
    Ok(Trace { process, records: events.iter().map(record).collect(), missing_bytes: 0 })
}

/// Event, from its JSON object. What is missing there is zero or empty.
fn record(event: &Value) -> Record {
    let number = |key: &str| event[key].as_u64().unwrap_or(0);
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let core = event["core"].as_u64().and_then(|core| u16::try_from(core).ok());
    let kind = (0..=u8::MAX).map(Kind).find(|kind| kind_word(*kind) == text("kind"));
    Record {
        time_ns: number("time_ns"),
        source: core.map_or(Source::Others, Source::Core),
        kind: kind.unwrap_or(Kind(0)),
        number: number("number"),
        text: text("text").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::print::event;

    #[test]
    fn an_event_is_the_same_after_its_way_through_json() {
        for kind in [Kind::LONG_VISIT, Kind(77)] {
            for source in [Source::Core(3), Source::Others] {
                let sent = Record { time_ns: u64::MAX, source, kind, number: 5, text: "a b".into() };
                assert_eq!(record(&event(&sent)), sent);
            }
        }
    }
}

//! Requests and answers, clauses 4 and 5 of JSON-RPC 2.0.

use crate::params::EXACT;
use crate::{Code, RpcError};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// Maximum length of an id in bytes: it is sent back.
const ID_BYTES_MAX: usize = 4096;

/// A request; without an id, a notification, which is not answered.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) id: Option<Value>,
}

impl Request {
    /// Reads a request. `jsonrpc` may be missing and unknown members are ignored, because of clients
    /// in the field.
    ///
    /// # Errors
    /// The answer to send instead, with the request's id if that is valid (clause 5).
    pub(crate) fn parse(value: Value) -> Result<Self, Box<Answer>> {
        let id = value.get("id").filter(|id| is_id(id)).cloned().unwrap_or(Value::Null);
        let Value::Object(members) = value else { return Err(refuse(id, "it must be an object")) };
        Self::of(members).map_err(|why| refuse(id, why))
    }

    fn of(mut members: Map<String, Value>) -> Result<Self, &'static str> {
        if members.get("jsonrpc").is_some_and(|version| version != "2.0") {
            return Err("`jsonrpc` must be \"2.0\", or left out");
        }
        let Some(Value::String(method)) = members.swap_remove("method") else {
            return Err("`method` must be there, and be a string");
        };
        let id = members.swap_remove("id");
        if id.as_ref().is_some_and(|id| !is_id(id)) {
            return Err("`id` must be a string of at most 4096 bytes, a number of 64 bits or null");
        }
        let params = members.swap_remove("params").unwrap_or_default();
        if !matches!(params, Value::Null | Value::Array(_) | Value::Object(_)) {
            return Err("`params` must be an object");
        }
        Ok(Self { method, params, id })
    }
}

fn refuse(id: Value, why: &str) -> Box<Answer> {
    Box::new(Answer::error(id, RpcError::new(Code::INVALID_REQUEST, format_args!("not a request: {why}"))))
}

fn is_id(value: &Value) -> bool {
    match value {
        Value::Number(number) => is_exact(number),
        Value::String(text) => text.len() <= ID_BYTES_MAX,
        other => other.is_null(),
    }
}

/// Whether a number is answered unchanged: digits beyond 64 bits are lost in parsing.
fn is_exact(number: &Number) -> bool {
    let is_small = |float: f64| float.abs() < EXACT;
    !number.is_f64() || number.as_f64().is_some_and(is_small)
}

/// The answer to one request.
pub(crate) struct Answer {
    pub(crate) id: Value,
    pub(crate) outcome: Result<Box<RawValue>, RpcError>,
}

impl Answer {
    pub(crate) fn error(id: Value, error: RpcError) -> Self {
        Self { id, outcome: Err(error) }
    }

    /// Length of the result in bytes; 0 for an error.
    pub(crate) fn result_bytes(&self) -> usize {
        self.outcome.as_ref().map_or(0, |result| result.get().len())
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("Answer", 3)?;
        members.serialize_field("jsonrpc", "2.0")?;
        members.serialize_field("id", &self.id)?;
        match &self.outcome {
            Ok(result) => members.serialize_field("result", result)?,
            Err(error) => members.serialize_field("error", error)?,
        }
        members.end()
    }
}

//! Requests and answers, clauses 4 and 5 of JSON-RPC 2.0.

use crate::params::EXACT;
use crate::{Code, RpcError};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// One request, as its members say. Clients leave `jsonrpc` out, and add members of their own.
#[derive(Deserialize)]
struct Members {
    #[serde(default, deserialize_with = "present")]
    jsonrpc: Option<Value>,
    method: String,
    #[serde(default)]
    params: Value,
    #[serde(default, deserialize_with = "present")]
    id: Option<Value>,
}

/// A member that is there is `Some`, even if it is null.
fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

/// One request. Without an id it is a notification, which is not answered.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) id: Option<Value>,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// The answer to give instead, as clause 5 asks: with the id where one can be told.
    pub(crate) fn parse(value: Value) -> Result<Self, Box<Answer>> {
        let id = value.get("id").filter(|id| is_id(id)).cloned().unwrap_or(Value::Null);
        let refuse =
            |why: String| Box::new(Answer::error(id.clone(), RpcError::new(Code::INVALID_REQUEST, why)));
        if !value.is_object() {
            return Err(refuse("not a request: it must be an object".into()));
        }
        let members: Members =
            serde_json::from_value(value).map_err(|error| refuse(format!("not a request: {error}")))?;
        if members.jsonrpc.is_some_and(|version| version != "2.0") {
            return Err(refuse("not a request: `jsonrpc` must be \"2.0\", or left out".into()));
        }
        if members.id.as_ref().is_some_and(|id| !is_id(id)) {
            return Err(refuse("not a request: `id` must be a string, a number of 64 bits or null".into()));
        }
        if !matches!(members.params, Value::Null | Value::Array(_) | Value::Object(_)) {
            return Err(refuse("not a request: `params` must be an object".into()));
        }
        Ok(Self { method: members.method, params: members.params, id: members.id })
    }
}

fn is_id(value: &Value) -> bool {
    match value {
        Value::Number(number) => is_exact(number),
        other => matches!(other, Value::Null | Value::String(_)),
    }
}

/// Whether a number comes back as it was asked with: digits beyond 64 bits are not kept.
fn is_exact(number: &Number) -> bool {
    let is_small = |float: f64| float.abs() < EXACT;
    !number.is_f64() || number.as_f64().is_some_and(is_small)
}

/// The answer to one request.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answer {
    jsonrpc: String,
    pub(crate) id: Value,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// How a request ended: exactly one member of two.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Result(Value),
    Error(RpcError),
}

impl Answer {
    pub(crate) fn new(id: Value, result: Result<Value, RpcError>) -> Self {
        let outcome = result.map_or_else(Outcome::Error, Outcome::Result);
        Self { jsonrpc: "2.0".into(), id, outcome }
    }

    pub(crate) fn error(id: Value, error: RpcError) -> Self {
        Self::new(id, Err(error))
    }
}

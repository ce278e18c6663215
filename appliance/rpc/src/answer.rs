//! Answers: reads a request or a batch of requests, makes the calls, and sends the answers.
//!
//! A batch is parsed and answered call by call, so that memory holds one call's values and answer at a
//! time.

use crate::ascii::write_ascii;
use crate::error::cut_short;
use crate::log_limit::LogLimit;
use crate::message::{Answer, Request};
use crate::parsing::{Client, Parsing, Turn};
use crate::unique::Unique;
use crate::{Caller, Code, Dispatcher, PreparedCall, RpcError};
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;
use std::io;

/// Maximum number of calls in a batch.
const BATCH_MAX: usize = 1024;

/// Maximum memory of a request's parsed values, in bytes; a configuration of thousands of volumes fits.
const VALUES_BYTES_MAX: usize = 32 << 20;

/// Length in bytes above which texts are parsed one at a time.
const LONG_TEXT_BYTES: usize = 4 << 10;

/// Length of an answer without its result; longer ones are rare.
const FRAME_BYTES: usize = 256;

/// Limit on log lines about failed calls.
static FAILURES: LogLimit = LogLimit::new("failed calls", 200);

/// Dispatcher, caller and shared state for the calls of one text.
pub(crate) struct CallContext<'a> {
    pub(crate) dispatcher: &'a Dispatcher,
    pub(crate) caller: Caller<'a>,
    /// Turns of parsing long texts, and who takes them here.
    pub(crate) parsing: &'a Parsing,
    pub(crate) client: Client,
    /// Function that is called before each call of a batch, because sending an answer has changed the
    /// connection's activity.
    pub(crate) begin: &'a dyn Fn(),
    /// Reserves memory in bytes for an answer, until that is sent.
    pub(crate) reserve: &'a dyn Fn(usize) -> Result<(), RpcError>,
}

/// Continuation of a stream after a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Another request may follow.
    Request,
    /// The stream is to be closed.
    End,
}

/// Sends a text to the client.
type Send<'a> = dyn FnMut(Vec<u8>) -> io::Result<()> + 'a;

/// Text of the error that is sent before a connection is closed.
pub(crate) fn closing_error(error: RpcError) -> Vec<u8> {
    line_of(&Answer::error(Value::Null, error))
}

/// Makes the calls of a text in order, and sends each answer when it is ready.
///
/// # Errors
/// Errors of `send`; the remaining calls of a batch are not made.
pub(crate) fn answer(context: &CallContext<'_>, text: &[u8], send: &mut Send<'_>) -> io::Result<Next> {
    match text.first() {
        Some(b'[') => answer_batch(context, text, send),
        _ => answer_one(context, text, send),
    }
}

fn answer_one(context: &CallContext<'_>, text: &[u8], send: &mut Send<'_>) -> io::Result<Next> {
    match read(context, text) {
        Ok(call) => call.run(context).map_or(Ok(()), |answer| send(line_of(&answer)))?,
        Err(ReadError::Json(error)) => return end(&error, send),
        Err(ReadError::Request(refusal)) => send(line_of(&refusal))?,
    }
    Ok(Next::Request)
}

fn answer_batch(context: &CallContext<'_>, text: &[u8], send: &mut Send<'_>) -> io::Result<Next> {
    let Batch { calls, count } = match serde_json::from_slice(text) {
        Ok(batch) => batch,
        Err(error) => return end(&error, send),
    };
    if count == 0 || count > BATCH_MAX {
        let why = format_args!("a batch has 1 to {BATCH_MAX} requests, this one has {count}");
        send(line_of(&refusal(why)))?;
        return Ok(Next::Request);
    }
    let mut before = b'[';
    for answer in calls.into_iter().filter_map(|call| answer_in_batch(context, call)) {
        let mut text = buffer_for(&answer);
        text.push(std::mem::replace(&mut before, b','));
        write_json(&mut text, &answer);
        drop(answer);
        send(text)?;
    }
    if before == b',' {
        send(b"]\n".to_vec())?;
    }
    Ok(Next::Request)
}

fn answer_in_batch(context: &CallContext<'_>, call: &RawValue) -> Option<Answer> {
    (context.begin)();
    match read(context, call.get().as_bytes()) {
        Ok(call) => call.run(context),
        Err(ReadError::Json(error)) => Some(refusal(format_args!("not a request: {error}"))),
        Err(ReadError::Request(refusal)) => Some(*refusal),
    }
}

/// Answers a text that is not JSON and ends the stream: the start of the next request is unknown.
fn end(error: &serde_json::Error, send: &mut Send<'_>) -> io::Result<Next> {
    send(closing_error(RpcError::new(Code::PARSE_ERROR, format_args!("not JSON: {error}"))))?;
    Ok(Next::End)
}

/// Answer, without an id, to JSON that is not a request.
fn refusal(why: impl fmt::Display) -> Answer {
    Answer::error(Value::Null, RpcError::new(Code::INVALID_REQUEST, why))
}

/// A request that was read. A notification has no id, and is not answered.
struct Call {
    method: String,
    id: Option<Value>,
    prepared: Result<PreparedCall, RpcError>,
}

/// Error of reading a request.
enum ReadError {
    /// The text is not JSON.
    Json(serde_json::Error),
    /// The text is JSON but not a request; with the answer.
    Request(Box<Answer>),
}

/// Reads a request. Its parsed values are freed before the call is made.
fn read(context: &CallContext<'_>, text: &[u8]) -> Result<Call, ReadError> {
    let values = estimate_values(text);
    if values > VALUES_BYTES_MAX {
        let why = format_args!(
            "not a request: its values take more than {} MiB of memory: send several",
            VALUES_BYTES_MAX >> 20
        );
        return Err(ReadError::Request(Box::new(refusal(why))));
    }
    let _turn = await_turn(context, text, values);
    let Unique(value) = serde_json::from_slice(text).map_err(|error| match error.is_data() {
        true => ReadError::Request(Box::new(refusal(format_args!("not a request: {error}")))),
        false => ReadError::Json(error),
    })?;
    let Request { method, params, id } = Request::parse(value).map_err(ReadError::Request)?;
    let prepared = context.dispatcher.prepare(context.dispatcher.stage(), &method, params);
    Ok(Call { method: cut_short(&method, 64).into(), id, prepared })
}

/// Estimate of the memory of a text's values, in bytes. Containers are allocated with room for four values,
/// and grow by doubling. Brackets and commas within strings count too.
fn estimate_values(text: &[u8]) -> usize {
    let bytes_of = |byte: &u8| match byte {
        b'{' => 640,
        b'[' => 352,
        b',' => 192,
        _ => 0,
    };
    text.iter().map(bytes_of).fold(0, usize::saturating_add)
}

/// Waits for the turn of a long text, which costs its bytes and those of its values.
fn await_turn<'a>(context: &CallContext<'a>, text: &[u8], value_bytes: usize) -> Option<Turn<'a>> {
    let cost = text.len().saturating_add(value_bytes);
    (text.len() > LONG_TEXT_BYTES).then(|| context.parsing.turn(context.client, cost))
}

impl Call {
    fn run(self, context: &CallContext<'_>) -> Option<Answer> {
        let Self { method, id, prepared } = self;
        tracing::debug!(method, "call");
        let outcome = prepared.and_then(|call| call.run(&context.caller));
        if let Err(error) = &outcome {
            FAILURES.line(|| tracing::info!(method, code = error.code.0, "call failed: {error}"));
        }
        id.map(|id| reserve(context, Answer { id, outcome }))
    }
}

/// Reserves memory for an answer and its text; returns the answer, or an error in its place.
fn reserve(context: &CallContext<'_>, answer: Answer) -> Answer {
    match (context.reserve)(answer.result_bytes().saturating_mul(2)) {
        Ok(()) => answer,
        Err(error) => Answer::error(answer.id, error),
    }
}

/// Texts of a batch's first [`BATCH_MAX`] calls, and the number of all its calls.
#[derive(Default)]
struct Batch<'a> {
    calls: Vec<&'a RawValue>,
    count: usize,
}

impl<'de> Deserialize<'de> for Batch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BatchVisitor)
    }
}

struct BatchVisitor;

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = Batch<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch of requests")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Batch<'de>, A::Error> {
        let mut calls = Vec::new();
        while calls.len() < BATCH_MAX {
            match items.next_element()? {
                Some(call) => calls.push(call),
                None => return Ok(Batch { count: calls.len(), calls }),
            }
        }
        let mut count = calls.len();
        while items.next_element::<IgnoredAny>()?.is_some() {
            count = count.saturating_add(1);
        }
        Ok(Batch { calls, count })
    }
}

fn line_of(answer: &Answer) -> Vec<u8> {
    let mut text = buffer_for(answer);
    write_json(&mut text, answer);
    text.push(b'\n');
    text
}

/// Empty buffer in which an answer fits.
fn buffer_for(answer: &Answer) -> Vec<u8> {
    Vec::with_capacity(answer.result_bytes().saturating_add(FRAME_BYTES))
}

fn write_json(text: &mut Vec<u8>, answer: &Answer) {
    // Cannot fail: all keys are strings, and a vector takes any text.
    let _ = write_ascii(text, answer);
}

#[cfg(test)]
mod tests;

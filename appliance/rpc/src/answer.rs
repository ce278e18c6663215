//! From the text of a request, or of a batch of them, to the texts of the answer.
//!
//! A batch is answered call by call: neither its tree nor its answers are ever there as a whole.

use crate::ascii::write_ascii;
use crate::error::cut_short;
use crate::message::{Answer, Request};
use crate::unique::Unique;
use crate::{Caller, Code, Dispatcher, PreparedCall, RpcError};
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most calls of a batch.
const BATCH_MAX: usize = 1024;

/// The most values of a request: a configuration of thousands of volumes fits. Each takes many
/// times its bytes once it is parsed.
const VALUES_MAX: usize = 256 << 10;

/// Bytes of a text whose tree takes memory worth counting.
const LONG_TEXT: usize = 4 << 10;

/// Context that calls are made in.
pub(crate) struct Desk<'a> {
    pub(crate) dispatcher: &'a Dispatcher,
    pub(crate) caller: Caller<'a>,
    /// Held while a long text is parsed.
    pub(crate) parsing: &'a Mutex<()>,
    /// Called before each call of a batch: an answer may have been sent in between.
    pub(crate) begin: &'a dyn Fn(),
}

/// Next item of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Request,
    /// Nothing that has a meaning.
    End,
}

/// Sends a text to the client.
type Send<'a> = dyn FnMut(Vec<u8>) -> io::Result<()> + 'a;

/// Text of the answer after which a connection is closed.
pub(crate) fn last_words(error: RpcError) -> Vec<u8> {
    line_of(&Answer::error(Value::Null, error))
}

/// Does what a text asks for, in order, and sends each answer as soon as it is there.
///
/// # Errors
/// Errors of `send`; calls of a batch that come after are not made.
pub(crate) fn answer(desk: &Desk<'_>, text: &[u8], send: &mut Send<'_>) -> io::Result<Next> {
    match text.first() {
        Some(b'[') => answer_batch(desk, text, send),
        _ => answer_one(desk, text, send),
    }
}

fn answer_one(desk: &Desk<'_>, text: &[u8], send: &mut Send<'_>) -> io::Result<Next> {
    match read(desk, text) {
        Ok(call) => call.run(&desk.caller).map_or(Ok(()), |answer| send(line_of(&answer)))?,
        Err(Unread::Json(error)) => return end(&error, send),
        Err(Unread::Request(refusal)) => send(line_of(&refusal))?,
    }
    Ok(Next::Request)
}

fn answer_batch(desk: &Desk<'_>, text: &[u8], send: &mut Send<'_>) -> io::Result<Next> {
    let Batch { calls, count } = match serde_json::from_slice(text) {
        Ok(batch) => batch,
        Err(error) => return end(&error, send),
    };
    if count == 0 || count > BATCH_MAX {
        let why =
            format_args!("a batch has 1 to {BATCH_MAX} requests, this one has {count}: send several batches");
        send(line_of(&refusal(why)))?;
        return Ok(Next::Request);
    }
    let mut before = b'[';
    for answer in calls.into_iter().filter_map(|call| answer_in_batch(desk, call)) {
        let mut text = vec![std::mem::replace(&mut before, b',')];
        write_json(&mut text, &answer);
        send(text)?;
    }
    if before == b',' {
        send(b"]\n".to_vec())?;
    }
    Ok(Next::Request)
}

fn answer_in_batch(desk: &Desk<'_>, call: &RawValue) -> Option<Answer> {
    (desk.begin)();
    match read(desk, call.get().as_bytes()) {
        Ok(call) => call.run(&desk.caller),
        Err(Unread::Json(error)) => Some(refusal(format_args!("not a request: {error}"))),
        Err(Unread::Request(refusal)) => Some(*refusal),
    }
}

/// Answers what is not JSON: the place in the stream is lost.
fn end(error: &serde_json::Error, send: &mut Send<'_>) -> io::Result<Next> {
    send(last_words(RpcError::new(Code::PARSE_ERROR, format_args!("not JSON: {error}"))))?;
    Ok(Next::End)
}

/// The answer to what is no request as a whole, although it is JSON.
fn refusal(why: impl fmt::Display) -> Answer {
    Answer::error(Value::Null, RpcError::new(Code::INVALID_REQUEST, why))
}

/// A request that was read; a notification has no id, and no answer.
struct Call {
    method: String,
    id: Option<Value>,
    prepared: Result<PreparedCall, RpcError>,
}

/// Why a text is not a request.
enum Unread {
    Json(serde_json::Error),
    Request(Box<Answer>),
}

/// Reads a request. The tree of its text is gone before its call is made.
fn read(desk: &Desk<'_>, text: &[u8]) -> Result<Call, Unread> {
    if values(text) > VALUES_MAX {
        let why = format_args!("not a request: it has at most {VALUES_MAX} values, send several");
        return Err(Unread::Request(Box::new(refusal(why))));
    }
    let _one_at_a_time = turn(desk, text);
    let Unique(value) = serde_json::from_slice(text).map_err(|error| match error.is_data() {
        true => Unread::Request(Box::new(refusal(format_args!("not a request: {error}")))),
        false => Unread::Json(error),
    })?;
    let Request { method, params, id } = Request::parse(value).map_err(Unread::Request)?;
    let prepared = desk.dispatcher.prepare(desk.dispatcher.stage(), &method, params);
    Ok(Call { method: cut_short(&method, 64).into(), id, prepared })
}

/// Number of values in a text at most: each begins a list or an object, or follows a comma.
fn values(text: &[u8]) -> usize {
    text.iter().filter(|byte| matches!(byte, b'[' | b'{' | b',')).count()
}

/// Waits for the turn of a long text to be parsed.
fn turn<'a>(desk: &Desk<'a>, text: &[u8]) -> Option<MutexGuard<'a, ()>> {
    (text.len() > LONG_TEXT).then(|| desk.parsing.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Call {
    fn run(self, caller: &Caller<'_>) -> Option<Answer> {
        let Self { method, id, prepared } = self;
        tracing::debug!(method, "call");
        let outcome = prepared.and_then(|call| call.run(caller));
        if let Err(error) = &outcome {
            tracing::info!(method, code = error.code.0, "call failed: {error}");
        }
        id.map(|id| Answer { id, outcome })
    }
}

/// The texts of a batch's calls, as far as there may be some, and their number.
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
    let mut text = Vec::new();
    write_json(&mut text, answer);
    text.push(b'\n');
    text
}

fn write_json(text: &mut Vec<u8>, answer: &Answer) {
    // Maps with string keys and numbers always have a JSON form.
    let _ = write_ascii(text, answer);
}

#[cfg(test)]
mod tests;

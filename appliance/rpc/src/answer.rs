//! From the text of a request, or of a batch of them, to the texts of the answer.
//!
//! A batch is answered call by call: neither its tree nor its answers are ever there as a whole.

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

/// What calls are made with.
pub(crate) struct Desk<'a> {
    pub(crate) dispatcher: &'a Dispatcher,
    pub(crate) caller: Caller<'a>,
    /// Held while a long text is parsed.
    pub(crate) parsing: &'a Mutex<()>,
}

/// What follows in a stream.
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
/// Those of `send`; calls of a batch that come after are not made.
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
        let why = format_args!("not a request: it has at most {VALUES_MAX} values");
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
    let _ = serde_json::to_writer(text, answer);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::{Framer, Limits};
    use crate::{Method, Stage, params};
    use serde_json::json;

    params! {
        struct Pair {
            /// One
            a: u32,
            /// The other
            b: u32,
        }
    }

    fn dispatcher() -> Dispatcher {
        let divide =
            |pair: Pair| pair.a.checked_div(pair.b).ok_or_else(|| RpcError::invalid("b must not be zero"));
        Dispatcher::new([Method::new("divide", "a / b", &[Stage::Startup], divide)])
    }

    /// Answers a text; all that was sent, and what follows.
    fn answer_to(text: &[u8]) -> (Vec<u8>, Next) {
        let (dispatcher, parsing) = (dispatcher(), Mutex::default());
        let desk = Desk { dispatcher: &dispatcher, caller: Caller::local(), parsing: &parsing };
        let mut sent = Vec::new();
        let next = answer(&desk, text, &mut |text| {
            sent.extend(text);
            Ok(())
        });
        (sent, next.unwrap())
    }

    fn asked(text: &str) -> Value {
        serde_json::from_slice(&answer_to(text.as_bytes()).0).unwrap_or(Value::Null)
    }

    fn code(text: &str) -> (Value, Value) {
        let answer = asked(text);
        assert_eq!(answer["jsonrpc"], "2.0");
        (answer["id"].clone(), answer["error"]["code"].clone())
    }

    #[test]
    fn a_request_is_answered_with_its_id_whatever_that_is() {
        for id in [json!(1), json!("x"), json!(null), json!(-2.5)] {
            let request = json!({"jsonrpc": "2.0", "method": "divide", "params": {"a": 6, "b": 3}, "id": id});
            assert_eq!(asked(&request.to_string()), json!({"jsonrpc": "2.0", "id": id, "result": 2}));
        }
    }

    #[test]
    fn errors_have_the_codes_of_the_specification() {
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","method":"add","id":1}"#, (json!(1), json!(-32601))),
            (r#"{"jsonrpc":"2.0","method":"divide","id":1}"#, (json!(1), json!(-32602))),
            (r#"{"jsonrpc":"2.0","method":"divide","params":[1,2],"id":1}"#, (json!(1), json!(-32602))),
            (r#"{"jsonrpc":"2.0","method":"divide","params":{"a":1,"b":0},"id":1}"#, (json!(1), json!(-22))),
            (r#"{"jsonrpc":"2.0","method":"divide","params":7,"id":1}"#, (json!(1), json!(-32600))),
            (r#"{"jsonrpc":"2.0","method":7,"id":1}"#, (json!(1), json!(-32600))),
            (r#"{"jsonrpc":"2.0","id":1}"#, (json!(1), json!(-32600))),
            (r#"{"jsonrpc":"1.0","method":"divide","id":1}"#, (json!(1), json!(-32600))),
            (r#"{"jsonrpc":2.0,"method":"divide","id":1}"#, (json!(1), json!(-32600))),
            (r#"{"jsonrpc":null,"method":"divide","id":1}"#, (json!(1), json!(-32600))),
            (r#"{"jsonrpc":"2.0","method":"divide","id":{}}"#, (json!(null), json!(-32600))),
            (
                r#"{"jsonrpc":"2.0","method":"divide","id":99999999999999999999}"#,
                (json!(null), json!(-32600)),
            ),
            (r#"{"jsonrpc":"2.0","method":"add","method":"divide","id":1}"#, (json!(null), json!(-32600))),
            ("[]", (json!(null), json!(-32600))),
            ("{]", (json!(null), json!(-32700))),
            ("{\"a\":\u{1}}", (json!(null), json!(-32700))),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
    }

    #[test]
    fn a_batch_is_answered_as_a_batch_without_its_notifications() {
        let ask =
            |id: Value| json!({"jsonrpc": "2.0", "method": "divide", "params": {"a": 9, "b": 3}, "id": id});
        let quiet = json!({"jsonrpc": "2.0", "method": "divide", "params": {"a": 9, "b": 3}});
        let list = json!(["2.0", "divide", {"a": 9, "b": 3}, 1]);
        let answers = asked(&json!([ask(json!(1)), quiet, 7, list, ask(json!(2))]).to_string());
        let ids: Vec<_> = answers.as_array().unwrap().iter().map(|answer| answer["id"].clone()).collect();
        assert_eq!(ids, [json!(1), json!(null), json!(null), json!(2)]);
        let code = |at: usize| answers[at]["error"]["code"].clone();
        assert_eq!((code(1), code(2)), (json!(-32600), json!(-32600)));
        assert_eq!(asked(&json!([quiet]).to_string()), Value::Null);
        assert_eq!(asked(&quiet.to_string()), Value::Null);
    }

    #[test]
    fn the_version_may_be_missing_and_members_of_others_are_passed_over() {
        for request in [
            r#"{"method":"divide","params":{"a":6,"b":3},"id":1}"#,
            r#"{"jsonrpc":"2.0","method":"divide","params":{"a":6,"b":3},"id":1,"trace":[{}]}"#,
        ] {
            assert_eq!(asked(request), json!({"jsonrpc": "2.0", "id": 1, "result": 2}));
        }
    }

    #[test]
    fn a_batch_has_a_limit_which_its_refusal_names() {
        let batch = |count: usize| {
            let call = r#"{"method":"divide","params":{"a":6,"b":3},"id":1}"#;
            asked(&format!("[{}]", vec![call; count].join(",")))
        };
        assert_eq!(batch(BATCH_MAX).as_array().unwrap().len(), BATCH_MAX);
        let refused = batch(BATCH_MAX + 1);
        assert_eq!(refused["error"]["code"], -32600);
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains("1 to 1024 requests, this one has 1025"), "{message}");
    }

    #[test]
    fn a_request_of_more_values_than_may_be_is_refused_and_the_stream_goes_on() {
        let list = vec!["{}"; VALUES_MAX].join(",");
        let (sent, next) = answer_to(format!(r#"{{"method":"divide","params":[{list}],"id":1}}"#).as_bytes());
        assert_eq!(next, Next::Request);
        let answer: Value = serde_json::from_slice(&sent).unwrap();
        assert_eq!(answer["error"]["code"], -32600);
    }

    #[test]
    fn a_batch_that_is_not_json_somewhere_makes_no_call_at_all() {
        let (sent, next) = answer_to(br#"[{"method":"divide","params":{"a":6,"b":3},"id":1}, {]"#);
        assert_eq!(next, Next::End);
        let answer: Value = serde_json::from_slice(&sent).unwrap();
        assert_eq!(answer["error"]["code"], -32700);
    }

    #[test]
    fn a_call_of_a_batch_that_names_a_member_twice_is_the_only_one_refused() {
        let answers =
            asked(r#"[{"method":"divide","id":1,"id":2},{"method":"divide","params":{"a":6,"b":3},"id":3}]"#);
        assert_eq!((&answers[0]["error"]["code"], &answers[1]["result"]), (&json!(-32600), &json!(2)));
    }

    /// A generator of numbers (xorshift), so that a seed replays a failure.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % sides as u64).unwrap()
        }
    }

    /// A stream of requests, of which some bytes were exchanged.
    fn stream(dice: &mut Dice) -> Vec<u8> {
        let whole =
            r#" {"jsonrpc":"2.0","method":"divide","params":{"a":6,"b":3},"id":"\"}"} [{},[{"id":null}]]"#;
        let mut stream: Vec<u8> = whole.bytes().cycle().take(dice.roll(400)).collect();
        for _ in 0..dice.roll(4) {
            let (at, byte) = (dice.roll(stream.len().max(1)), dice.roll(256));
            if let Some(room) = stream.get_mut(at) {
                *room = u8::try_from(byte).unwrap();
            }
        }
        stream
    }

    fn replies(stream: &[u8], mut cut: impl FnMut(usize) -> usize) -> Vec<Vec<u8>> {
        let (mut framer, mut found) = (Framer::new(Limits::REQUEST), vec![]);
        let mut rest = stream;
        while !rest.is_empty() {
            let (mut piece, later) = rest.split_at(cut(rest.len()));
            rest = later;
            loop {
                match framer.next(&mut piece) {
                    Ok(Some(text)) => {
                        let (sent, next) = answer_to(&text);
                        found.push(sent);
                        if next == Next::End {
                            return found;
                        }
                    }
                    Ok(None) => break,
                    Err(_) => return found,
                }
            }
        }
        found
    }

    #[test]
    fn any_bytes_however_cut_give_the_same_answers() {
        for seed in 1..2000_u64 {
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let stream = stream(&mut dice);
            let whole = replies(&stream, |all| all);
            let cut = replies(&stream, |all| 1 + dice.roll(all));
            assert_eq!(whole, cut, "seed {seed}");
            for text in whole.iter().filter(|text| !text.is_empty()) {
                serde_json::from_slice::<Value>(text).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            }
        }
    }
}

//! From the text of a request, or of a batch of them, to the text of the answer.

use crate::ascii::to_ascii;
use crate::message::{Answer, Request};
use crate::unique::Unique;
use crate::{Code, Dispatcher, RpcError};
use serde_json::Value;
use std::fmt;

/// What to send back, and whether the stream can be followed any further.
pub(crate) struct Reply {
    /// Empty where nothing is to be sent: all were notifications.
    pub(crate) text: Vec<u8>,
    pub(crate) more: bool,
}

impl Reply {
    /// The last words of a connection.
    pub(crate) fn last(why: impl fmt::Display) -> Self {
        let error = RpcError::new(Code::PARSE_ERROR, why);
        Self { text: text_of(&Answer::error(Value::Null, error)), more: false }
    }

    fn of(answer: Option<&impl serde::Serialize>) -> Self {
        Self { text: answer.map(text_of).unwrap_or_default(), more: true }
    }
}

/// Does what a text asks for, in order.
pub(crate) fn answer(dispatcher: &Dispatcher, text: &[u8]) -> Reply {
    match serde_json::from_slice(text) {
        Ok(Unique(Value::Array(batch))) if batch.is_empty() => refuse("a batch has at least one request"),
        Ok(Unique(Value::Array(batch))) => {
            let answers: Vec<_> = batch.into_iter().filter_map(|one| call(dispatcher, one)).collect();
            Reply::of(Some(&answers).filter(|answers| !answers.is_empty()))
        }
        Ok(Unique(one)) => Reply::of(call(dispatcher, one).as_ref()),
        Err(error) if error.is_data() => refuse(error),
        Err(error) => Reply::last(error),
    }
}

/// What is no request as a whole, although it is JSON.
fn refuse(why: impl fmt::Display) -> Reply {
    Reply::of(Some(&Answer::error(Value::Null, RpcError::new(Code::INVALID_REQUEST, why))))
}

/// Does one request; a notification has no answer.
fn call(dispatcher: &Dispatcher, request: Value) -> Option<Answer> {
    let request = match Request::parse(request) {
        Ok(request) => request,
        Err(refusal) => return Some(*refusal),
    };
    tracing::debug!(method = request.method, "call");
    let result = dispatcher.dispatch(&request.method, request.params);
    if let Err(error) = &result {
        tracing::info!(method = request.method, code = error.code.0, "call failed: {error}");
    }
    request.id.map(|id| Answer::new(id, result))
}

fn text_of(answer: &impl serde::Serialize) -> Vec<u8> {
    // Maps with string keys and numbers always have a JSON form.
    let mut text = to_ascii(answer).unwrap_or_default();
    text.push(b'\n');
    text
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

    fn asked(text: &str) -> Value {
        let reply = answer(&dispatcher(), text.as_bytes());
        serde_json::from_slice(&reply.text).unwrap_or(Value::Null)
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
            (r#"{"method":"divide","id":1}"#, (json!(1), json!(-32600))),
            (r#"{"jsonrpc":"2.0","method":"divide","id":{}}"#, (json!(null), json!(-32600))),
            (r#"{"jsonrpc":"2.0","method":"divide","id":1,"extra":1}"#, (json!(1), json!(-32600))),
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
        let (dispatcher, mut framer, mut found) = (dispatcher(), Framer::new(Limits::REQUEST), vec![]);
        let mut rest = stream;
        while !rest.is_empty() {
            let (mut piece, later) = rest.split_at(cut(rest.len()));
            rest = later;
            loop {
                match framer.next(&mut piece) {
                    Ok(Some(text)) => {
                        let reply = answer(&dispatcher, &text);
                        found.push(reply.text);
                        if !reply.more {
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

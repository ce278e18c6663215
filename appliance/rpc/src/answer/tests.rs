//! Tests of answers to valid and invalid texts.

use super::*;
use crate::framing::{Framer, Limits};
use crate::{Method, NoParams, Stage, params};
use luge_seeded::{Random, fuzz};
use serde_json::json;
use std::sync::Mutex;

params! {
    struct Pair {
        /// Dividend
        a: u32,
        /// Divisor
        b: u32,
    }
}

fn dispatcher() -> Dispatcher {
    let divide =
        |pair: Pair| pair.a.checked_div(pair.b).ok_or_else(|| RpcError::invalid("b must not be zero"));
    let long = |_: NoParams| Ok("x".repeat(100));
    Dispatcher::new([
        Method::new("divide", "a / b", &[Stage::Startup], divide),
        Method::new("long", "A text for which there is no room", &[Stage::Startup], long),
    ])
}

/// Bytes that are sent in answer to a text, and the continuation.
fn answer_to(text: &[u8]) -> (Vec<u8>, Next) {
    answer_in_turn(text, &Parsing::default(), Client::Connection(0))
}

/// Bytes that are sent in answer to a client's text, and the continuation.
fn answer_in_turn(text: &[u8], parsing: &Parsing, client: Client) -> (Vec<u8>, Next) {
    let dispatcher = dispatcher();
    let caller = Caller::local();
    let context = CallContext {
        dispatcher: &dispatcher,
        caller,
        parsing,
        client,
        begin: &|| (),
        reserve: &|bytes| if bytes > 100 { Err(RpcError::busy("no room")) } else { Ok(()) },
    };
    let mut sent = Vec::new();
    let next = answer(&context, text, &mut |text| {
        sent.extend(text);
        Ok(())
    });
    (sent, next.unwrap())
}

fn asked(text: &str) -> Value {
    serde_json::from_slice(&answer_to(text.as_bytes()).0).unwrap_or(Value::Null)
}

#[track_caller]
fn assert_refused(text: &str, code: i32, id: Value) {
    let answer = asked(text);
    assert_eq!(answer["jsonrpc"], "2.0", "{text}");
    assert_eq!(answer["error"]["code"], code, "{text}");
    assert_eq!(answer["id"], id, "{text}");
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
    for (text, code) in [
        (r#"{"jsonrpc":"2.0","method":"add","id":1}"#, -32601),
        (r#"{"jsonrpc":"2.0","method":"divide","id":1}"#, -32602),
        (r#"{"jsonrpc":"2.0","method":"divide","params":[1,2],"id":1}"#, -32602),
        (r#"{"jsonrpc":"2.0","method":"divide","params":{"a":1,"b":0},"id":1}"#, -22),
        (r#"{"jsonrpc":"2.0","method":"divide","params":7,"id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","method":7,"id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (r#"{"jsonrpc":"1.0","method":"divide","id":1}"#, -32600),
        (r#"{"jsonrpc":2.0,"method":"divide","id":1}"#, -32600),
        (r#"{"jsonrpc":null,"method":"divide","id":1}"#, -32600),
    ] {
        assert_refused(text, code, json!(1));
    }
}

#[test]
fn errors_without_a_valid_id_have_the_id_null() {
    for (text, code) in [
        (r#"{"jsonrpc":"2.0","method":"divide","id":{}}"#, -32600),
        (r#"{"jsonrpc":"2.0","method":"divide","id":99999999999999999999}"#, -32600),
        (r#"{"jsonrpc":"2.0","method":"add","method":"divide","id":1}"#, -32600),
        ("[]", -32600),
        ("{]", -32700),
        ("{\"a\":\u{1}}", -32700),
    ] {
        assert_refused(text, code, Value::Null);
    }
}

#[test]
fn bytes_that_are_no_text_end_the_stream_with_a_parse_error() {
    for text in [
        b"{\"method\":\"divide\xff\",\"id\":1}".as_slice(),
        b"{\"method\":\"divide\xc0\xaf\",\"id\":1}",
        b"{\"method\":\"divide\\ud800\",\"id\":1}",
        b"{\"method\":\"divide\0\",\"id\":1}",
        b"{\"method\":\"divide\",\"id\":1e400}",
    ] {
        let (sent, next) = answer_to(text);
        let shown = String::from_utf8_lossy(text);
        assert_eq!(next, Next::End, "{shown}");
        let answer: Value = serde_json::from_slice(&sent).unwrap();
        assert_eq!(answer["error"]["code"], -32700, "{shown}");
    }
}

#[test]
fn a_batch_is_answered_as_a_batch_without_its_notifications() {
    let ask = |id: Value| json!({"jsonrpc": "2.0", "method": "divide", "params": {"a": 9, "b": 3}, "id": id});
    let quiet = json!({"jsonrpc": "2.0", "method": "divide", "params": {"a": 9, "b": 3}});
    let list = json!(["2.0", "divide", {"a": 9, "b": 3}, 1]);
    let answers = asked(&json!([ask(json!(1)), quiet, 7, list, ask(json!(2))]).to_string());
    let ids: Vec<_> = answers.as_array().unwrap().iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(ids, [json!(1), json!(null), json!(null), json!(2)]);
    assert_eq!(answers[1]["error"]["code"], -32600);
    assert_eq!(answers[2]["error"]["code"], -32600);
    assert_eq!(asked(&json!([quiet]).to_string()), Value::Null);
    assert_eq!(asked(&quiet.to_string()), Value::Null);
}

#[test]
fn the_version_may_be_missing_and_unknown_members_are_ignored() {
    for request in [
        r#"{"method":"divide","params":{"a":6,"b":3},"id":1}"#,
        r#"{"jsonrpc":"2.0","method":"divide","params":{"a":6,"b":3},"id":1,"trace":[{}]}"#,
    ] {
        assert_eq!(asked(request), json!({"jsonrpc": "2.0", "id": 1, "result": 2}));
    }
}

#[test]
fn a_batch_over_the_limit_is_refused_and_the_limit_named() {
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
fn a_request_with_too_many_values_is_refused_and_the_stream_goes_on() {
    let list = vec!["{}"; VALUES_BYTES_MAX / 800].join(",");
    let (sent, next) = answer_to(format!(r#"{{"method":"divide","params":[{list}],"id":1}}"#).as_bytes());
    assert_eq!(next, Next::Request);
    let answer: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(answer["error"]["code"], -32600);
}

#[test]
fn a_configuration_of_thousands_of_volumes_fits() {
    let volume = r#"{"method":"bdev_aio_create","params":{"name":"a","filename":"/a","block_size":512}}"#;
    let disk = r#"{"method":"vhost_create_blk_controller","params":{"ctrlr":"c","dev_name":"a","cpumask":"[0]","readonly":false}}"#;
    let calls = vec![format!("{volume},{disk}"); 5000].join(",");
    assert!(estimate_values(calls.as_bytes()) < VALUES_BYTES_MAX);
}

#[test]
fn an_answer_for_which_there_is_no_room_is_an_error_with_the_id_also_in_a_batch() {
    let call = r#"{"method":"long","id":7}"#;
    assert_refused(call, -16, json!(7));
    let answers = asked(&format!(r#"[{call},{{"method":"divide","params":{{"a":6,"b":3}},"id":8}}]"#));
    assert_eq!(answers[0]["error"]["code"], -16);
    assert_eq!(answers[1]["result"], 2);
}

#[test]
fn an_id_that_is_too_long_to_be_sent_back_is_refused() {
    let call = |bytes: usize| format!(r#"{{"method":"add","id":"{}"}}"#, "x".repeat(bytes));
    assert_refused(&call(4096), -32601, json!("x".repeat(4096)));
    assert_refused(&call(4097), -32600, Value::Null);
}

#[test]
fn a_batch_with_invalid_json_anywhere_makes_no_call() {
    let (sent, next) = answer_to(br#"[{"method":"divide","params":{"a":6,"b":3},"id":1}, {]"#);
    assert_eq!(next, Next::End);
    let answer: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(answer["error"]["code"], -32700);
}

#[test]
fn a_call_of_a_batch_that_names_a_member_twice_is_the_only_one_refused() {
    let answers =
        asked(r#"[{"method":"divide","id":1,"id":2},{"method":"divide","params":{"a":6,"b":3},"id":3}]"#);
    assert_eq!(answers[0]["error"]["code"], -32600);
    assert_eq!(answers[1]["result"], 2);
}

/// Stream of requests with some bytes replaced.
fn stream(random: &mut Random) -> Vec<u8> {
    let whole =
        r#" {"jsonrpc":"2.0","method":"divide","params":{"a":6,"b":3},"id":"\"}"} [{},[{"id":null}]]"#;
    let mut stream: Vec<u8> = whole.bytes().cycle().take(random.below(400)).collect();
    for _ in 0..random.below(4_u32) {
        let (at, byte) = (random.below(stream.len().max(1)), random.number().to_le_bytes()[0]);
        if let Some(room) = stream.get_mut(at) {
            *room = byte;
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
    fuzz(|random| {
        let stream = stream(random);
        let whole = replies(&stream, |all| all);
        let cut = replies(&stream, |all| 1 + random.below(all));
        assert_eq!(whole, cut);
        for text in whole.iter().filter(|text| !text.is_empty()) {
            serde_json::from_slice::<Value>(text).expect("an answer is JSON");
        }
    });
}

#[test]
fn a_long_text_goes_before_longer_ones_that_wait_and_a_short_one_waits_for_none() {
    let (parsing, order) = (Parsing::default(), Mutex::new(Vec::new()));
    let turn = parsing.turn(Client::Connection(100), 1);
    std::thread::scope(|scope| {
        let ask = |client, kib: usize| {
            let (parsing, order) = (&parsing, &order);
            let text = json!({"method": "divide", "params": {"a": 6, "b": 3, "c": "x".repeat(kib << 10)}});
            let waiting = parsing.waiting();
            scope.spawn(move || {
                answer_in_turn(text.to_string().as_bytes(), parsing, Client::Connection(client));
                order.lock().unwrap().push(client);
            });
            while kib > 4 && parsing.waiting() == waiting {
                std::thread::yield_now();
            }
        };
        (0..8).for_each(|client| ask(client, 1 << 10));
        ask(8, 8);
        ask(9, 1);
        while order.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        drop(turn);
    });
    let order = order.into_inner().unwrap();
    let place = |wanted| order.iter().position(|&client| client == wanted).unwrap();
    assert_eq!(place(9), 0, "{order:?}");
    assert!(place(8) < place(7), "the eighth of the longest goes last: {order:?}");
}

//! Tests of a server with clients that are idle, disconnected, slow or greedy.

use super::*;
use crate::caller::WAITING_MAX;
use crate::connection_table::CONNECTIONS_MAX;
use crate::connections::Timeouts;
use crate::{CallError, Caller, Client, Method, NoParams, Stage, params};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Condvar, Mutex};

params! {
    struct Echo {
        /// Text that is returned
        text: String,
    }
}

#[derive(Default)]
struct Held {
    calls: usize,
    is_released: bool,
}

/// Calls that do not end until they are released.
#[derive(Default)]
struct Hold {
    held: Mutex<Held>,
    changed: Condvar,
}

impl Hold {
    fn hold(&self) {
        let mut held = self.held.lock().unwrap();
        held.calls += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(held, |held| !held.is_released).unwrap());
    }
}

fn line(stream: &UnixStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

struct Rig {
    folder: tempfile::TempDir,
    dispatcher: Arc<Dispatcher>,
    server: Option<Server>,
    hold: Arc<Hold>,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let echo = Method::new("echo", "Returns a text", &[Stage::Startup], |echo: Echo| Ok(echo.text));
        let fail = Method::new("fail", "Fails", &[Stage::Startup], |_: NoParams| {
            Err::<(), _>(RpcError::busy("not now"))
        });
        let hold = Arc::<Hold>::default();
        let of_method = hold.clone();
        let hold_call = Method::new("hold", "Ends when released", &[Stage::Startup], move |_: NoParams| {
            of_method.hold();
            Ok(true)
        });
        let wait = |_: NoParams, caller: &Caller<'_>| {
            let _permit = caller.wait_permit()?;
            while caller.wants_answer() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(true)
        };
        let wait = Method::waiting("wait", "Ends with its client", &[Stage::Startup], wait);
        let dispatcher = Arc::new(Dispatcher::new([echo, fail, hold_call, wait]));
        let server =
            Some(Server::start(&folder.path().join("s"), &Permissions::OWNER, dispatcher.clone()).unwrap());
        Self { folder, dispatcher, server, hold }
    }

    /// Restarts the server with other time limits.
    fn with(mut self, timeouts: Timeouts) -> Self {
        drop(self.server.take());
        let socket = LockedSocket::listen(&self.path(), &Permissions::OWNER).unwrap();
        let server = Server::serve(socket, self.dispatcher.clone(), Connections::with(timeouts));
        self.server = Some(server.unwrap());
        self
    }

    /// Sends a text, or the part of it that the server reads, on a new connection.
    fn send(&self, text: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.path()).unwrap();
        let _ = stream.write_all(text.as_bytes());
        stream
    }

    /// Client that has made a call, which was answered.
    fn idle_client(&self) -> Client {
        let mut client = Client::connect(&self.path()).unwrap();
        client.call("echo", json!({"text": "me"})).unwrap();
        client
    }

    fn await_held(&self, count: usize) {
        let held = self.hold.held.lock().unwrap();
        drop(self.hold.changed.wait_while(held, |held| held.calls < count).unwrap());
    }

    fn release(&self) {
        self.hold.held.lock().unwrap().is_released = true;
        self.hold.changed.notify_all();
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        Client::connect(&self.path()).unwrap().call(method, params)
    }
}

#[test]
fn calls_are_answered_and_errors_arrive_whole() {
    let rig = Rig::new();
    assert_eq!(rig.call("echo", json!({"text": "hi"})).unwrap(), "hi");
    let Err(CallError::Rpc(error)) = rig.call("fail", Value::Null) else { panic!("no error") };
    assert_eq!(error, RpcError::busy("not now"));
}

#[test]
fn requests_back_to_back_on_one_connection_are_answered_in_order() {
    let rig = Rig::new();
    let mut client = Client::connect(&rig.path()).unwrap();
    for text in ["a", "b", &"c".repeat(100_000)] {
        assert_eq!(client.call("echo", json!({"text": text})).unwrap(), text);
    }
    let mut stream = UnixStream::connect(rig.path()).unwrap();
    let ask = |id: u32| json!({"jsonrpc":"2.0","method":"echo","params":{"text":"x"},"id":id}).to_string();
    stream.write_all((ask(1) + &ask(2) + &ask(3)).as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let ids: Vec<u64> = answers
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [1, 2, 3]);
}

#[test]
fn invalid_input_is_answered_with_an_error_and_ends_only_its_connection() {
    let rig = Rig::new();
    let silent: Vec<_> = (0..10).map(|_| UnixStream::connect(rig.path()).unwrap()).collect();
    for nonsense in ["GET / HTTP/1.1\r\n", "{\"jsonrpc\" 7}", "{\"half\":"] {
        let mut stream = UnixStream::connect(rig.path()).unwrap();
        stream.write_all(nonsense.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["code"], -32700, "{nonsense}");
        assert_eq!(answer["id"], Value::Null, "{nonsense}");
    }
    assert_eq!(rig.call("echo", json!({"text": "still here"})).unwrap(), "still here");
    drop(silent);
}

#[test]
fn a_zero_byte_after_a_request_hides_nothing_and_ends_the_stream() {
    let rig = Rig::new();
    let stream = rig.send("{\"method\":\"fail\",\"id\":1}\0{\"method\":\"fail\",\"id\":2}");
    let answers: Vec<String> = BufReader::new(&stream).lines().map_while(Result::ok).collect();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(answers[0].contains("\"code\":-16"), "{answers:?}");
    assert!(answers[1].contains("\"code\":-32700"), "{answers:?}");
}

#[test]
fn clients_that_leave_in_the_middle_of_requests_and_answers_hurt_nobody() {
    let rig = Rig::new();
    let mut idle = rig.idle_client();
    let ask = json!({"method": "echo", "params": {"text": "x".repeat(5000)}, "id": 1}).to_string();
    for cut in 0..200 {
        drop(rig.send(&ask.repeat(3)[..cut * 70]));
    }
    assert_eq!(idle.call("echo", json!({"text": "me"})).unwrap(), "me");
    let server = rig.server.as_ref().unwrap();
    while server.connections.count() > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn the_longest_idle_connection_is_closed_for_a_new_one() {
    let rig = Rig::new();
    let mut held: Vec<_> = (0..CONNECTIONS_MAX).map(|_| rig.idle_client()).collect();
    let mut newcomer = rig.idle_client();
    let mut all = held.drain(..).map(|mut client| client.call("echo", json!({"text": "me"})).is_ok());
    assert_eq!(all.next(), Some(false), "the first one was idle longest");
    assert!(all.all(|is_there| is_there), "more than one connection was closed");
    assert_eq!(newcomer.call("echo", json!({"text": "me"})).unwrap(), "me");
}

#[test]
fn a_new_connection_is_refused_as_busy_while_all_others_have_calls_under_way() {
    let rig = Rig::new();
    let callers: Vec<_> = (0..CONNECTIONS_MAX).map(|_| rig.send(r#"{"method":"hold","id":1}"#)).collect();
    rig.await_held(CONNECTIONS_MAX);
    let mut refusal = String::new();
    UnixStream::connect(rig.path()).unwrap().read_to_string(&mut refusal).unwrap();
    let refusal: Value = serde_json::from_str(&refusal).unwrap();
    assert_eq!(refusal["error"]["code"], -16, "{refusal}");
    let message = refusal["error"]["message"].as_str().unwrap();
    assert!(message.contains("all 128 RPC connections have calls under way"), "{message}");
    rig.release();
    for caller in &callers {
        assert_eq!(line(caller), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":true}\n");
    }
}

#[test]
fn connections_with_unfinished_requests_or_none_are_closed_before_those_that_ask() {
    let rig = Rig::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for at in 0..CONNECTIONS_MAX {
            let mut stream = rig.send(["", "{"][at % 2]);
            let stop = &stop;
            scope.spawn(move || while !stop.load(Relaxed) && stream.write_all(&[b' '; 64]).is_ok() {});
        }
        let mut newcomers: Vec<_> = (0..20).map(|_| Client::connect(&rig.path()).unwrap()).collect();
        let ask = |client: &mut Client| client.call("echo", json!({"text": "me"})).is_ok();
        let are_there = (0..2).all(|_| newcomers.iter_mut().all(ask));
        stop.store(true, Relaxed);
        assert!(are_there, "a client that asks is closed before one that floods");
    });
}

#[test]
fn a_client_that_disconnects_during_a_waiting_call_frees_its_connection() {
    let rig = Rig::new();
    for _ in 0..3 {
        let waiters: Vec<_> = (0..CONNECTIONS_MAX).map(|_| rig.send(r#"{"method":"wait","id":1}"#)).collect();
        drop(waiters);
        assert_eq!(rig.call("echo", json!({"text": "me"})).unwrap(), "me");
    }
}

#[test]
fn a_waiting_call_beyond_the_limit_is_refused_at_once() {
    let rig = Rig::new();
    let mut answered = 0;
    let waiters: Vec<_> = (0..WAITING_MAX + 1).map(|_| rig.send(r#"{"method":"wait","id":1}"#)).collect();
    for waiter in &waiters {
        waiter.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    }
    let mut waiters: Vec<_> = waiters.iter().map(BufReader::new).collect();
    while answered == 0 {
        for waiter in &mut waiters {
            let mut line = String::new();
            if waiter.read_line(&mut line).is_ok() {
                assert!(line.contains("\"code\":-16"), "{line}");
                answered += 1;
            }
        }
    }
    assert_eq!(answered, 1);
}

#[test]
fn endless_requests_stay_within_the_common_limit_of_memory_and_short_ones_are_answered() {
    let rig = Rig::new();
    let half = format!("{{\"method\":\"{}", "x".repeat(3 << 20));
    let mut senders: Vec<_> = (0..16).map(|_| rig.send(&half)).collect();
    assert_eq!(rig.call("echo", json!({"text": "me"})).unwrap(), "me");
    let ended = |sender: &mut UnixStream| {
        sender.set_nonblocking(true).unwrap();
        matches!(sender.read(&mut [0]), Ok(0)) || sender.write(b"x").is_err()
    };
    let ended = senders.iter_mut().filter_map(|sender| ended(sender).then_some(())).count();
    assert!((16 - 9..16).contains(&ended), "{ended} of 16 were ended");
}

#[test]
fn connections_with_unread_answers_are_closed_for_another_answer() {
    let rig = Rig::new();
    let text = "x".repeat(3 << 20);
    let ask = json!({"method": "echo", "params": {"text": text}, "id": 1}).to_string();
    let deaf: Vec<_> = (0..8).map(|_| rig.send(&ask)).collect();
    assert_eq!(rig.call("echo", json!({"text": text})).unwrap(), text);
    drop(deaf);
}

#[test]
fn a_request_that_arrives_a_byte_at_a_time_is_ended_and_an_idle_client_is_not() {
    let rig = Rig::new().with(Timeouts { request: Duration::from_millis(100), ..Timeouts::default() });
    let mut idle = rig.idle_client();
    let slow = rig.send("{");
    std::thread::scope(|scope| {
        scope.spawn(|| while (&slow).write_all(b" ").is_ok() {});
        let refusal: Value = serde_json::from_str(&line(&slow)).unwrap();
        assert_eq!(refusal["error"]["code"], -32700);
        let message = refusal["error"]["message"].as_str().unwrap();
        assert!(message.contains("must be complete 100ms after its first byte"), "{message}");
        slow.shutdown(std::net::Shutdown::Both).unwrap_or_default();
    });
    assert_eq!(idle.call("echo", json!({"text": "me"})).unwrap(), "me");
}

#[test]
fn a_client_that_never_reads_is_disconnected_and_others_are_served_meanwhile() {
    let rig = Rig::new().with(Timeouts { answer: Duration::from_millis(200), ..Timeouts::default() });
    let mut deaf = UnixStream::connect(rig.path()).unwrap();
    deaf.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let text = "x".repeat(100_000);
    let ask = json!({"jsonrpc": "2.0", "method": "echo", "params": {"text": text}, "id": 1}).to_string();
    let end = (0..1000).find_map(|_| {
        assert_eq!(rig.call("echo", json!({"text": "hi"})).unwrap(), "hi");
        deaf.write_all(ask.as_bytes()).err()
    });
    assert_eq!(end.map(|error| error.kind()), Some(io::ErrorKind::BrokenPipe));
}

#[test]
fn a_server_that_stops_ends_its_connections_and_removes_its_socket() {
    let mut rig = Rig::new();
    let mut idle = UnixStream::connect(rig.path()).unwrap();
    assert!(rig.call("echo", json!({"text": "x"})).is_ok());
    drop(rig.server.take());
    assert_eq!(idle.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(std::fs::read_dir(rig.folder.path()).unwrap().count(), 0);
    assert!(Server::start(&rig.path(), &Permissions::OWNER, rig.dispatcher.clone()).is_ok());
}

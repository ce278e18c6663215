//! Test of a server without file descriptors. Alone in its process, because it uses them up.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use luge_rpc::{Caller, Dispatcher, Method, NoParams, RpcError, Server, Stage};
use luge_socket::Permissions;
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

fn start(path: &Path) -> Server {
    let answer = Method::new("now", "Ends at once", &[Stage::Startup], |_: NoParams| Ok(true));
    let wait = Method::waiting(
        "wait",
        "Ends with its client",
        &[Stage::Startup],
        |_: NoParams, caller: &Caller<'_>| {
            while caller.wants_answer() {
                std::thread::yield_now();
            }
            Ok::<_, RpcError>(true)
        },
    );
    Server::start(path, &Permissions::OWNER, Arc::new(Dispatcher::new([answer, wait]))).unwrap()
}

/// Next line of a stream.
fn line(stream: &UnixStream) -> String {
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text).unwrap();
    text
}

/// Connects with the last descriptor, which is one of `files`.
fn connect(path: &Path, files: &mut Vec<OwnedFd>) -> UnixStream {
    files.pop().unwrap();
    UnixStream::connect(path).unwrap()
}

/// Makes a call that is answered, and one that waits.
fn call_and_wait(mut stream: &UnixStream) {
    stream.write_all(br#"{"method":"now","id":1}{"method":"wait","id":2}"#).unwrap();
    let answer = line(stream);
    assert!(answer.contains("\"result\":true"), "{answer}");
}

#[test]
fn without_descriptors_an_idle_client_makes_room_and_else_the_new_one_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let _server = start(&path);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).unwrap();
    let mut idle = UnixStream::connect(&path).unwrap();
    let caller = UnixStream::connect(&path).unwrap();
    call_and_wait(&caller);
    let mut files = Vec::new();
    while let Ok(file) = eventfd(0, EventfdFlags::empty()) {
        files.push(file);
    }
    let operator = connect(&path, &mut files);
    call_and_wait(&operator);
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "the idle client is still connected");
    let refused = line(&connect(&path, &mut files));
    assert!(refused.contains("\"code\":-24"), "{refused}");
    assert!(refused.contains("no file descriptor is left for this connection"), "{refused}");
    files.pop().unwrap();
    let successor = connect(&path, &mut files);
    call_and_wait(&successor);
}

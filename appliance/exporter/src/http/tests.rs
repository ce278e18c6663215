//! Tests of the server over real connections: slow, silent and deaf clients.

use super::*;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

/// Text that no socket's buffers hold.
static LONG: LazyLock<String> = LazyLock::new(|| "x".repeat(16 << 20));

/// A server whose answer is the path, or a long text.
fn server() -> SocketAddr {
    server_with(Times::default())
}

fn server_with(times: Times) -> SocketAddr {
    let rules = Rules { hosts: Hosts::default(), times };
    let server = Server::listen("127.0.0.1:0".parse().unwrap(), rules).unwrap();
    let address = server.address().unwrap();
    thread::spawn(move || {
        server.run(|request| match request.path.as_str() {
            "/long" => Response::ok("text/plain", LONG.as_str()),
            path => Response::ok("text/plain", path.to_owned()),
        })
    });
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Sends a text, and returns all that is answered.
fn said(address: SocketAddr, text: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(address: SocketAddr, path: &str) -> String {
    said(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

#[test]
fn a_get_is_answered_with_a_body_and_a_head_without() {
    let address = server();
    let answer = get(address, "/a");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n/a"), "{answer}");
    let answer = said(address, "HEAD /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.contains("Content-Length: 2\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn a_refusal_arrives_although_the_client_goes_on_sending() {
    let text =
        format!("POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n{}", "x".repeat(60_000));
    assert!(said(server(), &text).starts_with("HTTP/1.1 405 "));
    let endless = format!("GET /a HTTP/1.1\r\nX: {}", "x".repeat(60_000));
    assert!(said(server(), &endless).starts_with("HTTP/1.1 431 "));
}

#[test]
fn silent_clients_keep_no_other_client_waiting() {
    let address = server();
    let silent: Vec<_> = (0..200).map(|_| connect(address)).collect();
    let began = Instant::now();
    assert!(get(address, "/a").ends_with("/a"));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drop(silent);
}

#[test]
fn clients_that_do_not_read_keep_no_other_client_waiting() {
    let address = server();
    let deaf: Vec<_> = (0..80)
        .map(|_| {
            let mut stream = connect(address);
            stream.write_all(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            stream
        })
        .collect();
    assert!(get(address, "/a").ends_with("/a"));
    drop(deaf);
}

#[test]
fn a_client_that_sends_slowly_is_cut_off_in_time() {
    let times = Times { head: Duration::from_millis(300), ..Times::default() };
    let mut stream = connect(server_with(times));
    let began = Instant::now();
    // Each byte comes in time; the whole head does not.
    while stream.write_all(b"G").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "the client is still served");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_client_that_reads_slowly_is_cut_off_in_time() {
    let times = Times { response: Duration::from_millis(300), ..Times::default() };
    let mut stream = connect(server_with(times));
    stream.write_all(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut got = 0;
    let mut chunk = [0; 4096];
    let began = Instant::now();
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        got += read;
        if got < LONG.len() / 4 {
            thread::sleep(Duration::from_millis(2));
        }
        assert!(began.elapsed() < Duration::from_secs(15), "the client is still served");
    }
    assert!(got < LONG.len(), "the client got all of it");
}

//! One connection: one request, one response, each within its time.

use super::host::Hosts;
use super::request::{HEAD_BYTES_MAX, Method, Request, parse};
use super::response::Response;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For the request's head.
    pub head: Duration,
    /// For the response.
    pub response: Duration,
    /// For the client's close, after the response.
    pub close: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { head: seconds(5), response: seconds(10), close: seconds(1) }
    }
}

/// Rules that every connection is served by.
#[derive(Debug)]
pub struct Rules {
    /// Host names that are served.
    pub hosts: Hosts,
    /// Time limits.
    pub times: Times,
}

/// Serves the one request of a connection.
///
/// # Errors
/// Error of the connection, or a time limit that has passed.
pub fn serve(stream: &TcpStream, rules: &Rules, answer: &dyn Fn(&Request) -> Response) -> io::Result<()> {
    let times = rules.times;
    match read_request(stream, rules)? {
        Ok(request) => {
            let response = answer(&request);
            let body = if request.method == Method::Head { "" } else { &*response.body };
            send(stream, [&response.head(), body], times.response)?;
        }
        Err(refusal) => send(stream, [&refusal.head(), &refusal.body], times.response)?,
    }
    close(stream, times.close)
}

fn read_request(mut stream: &TcpStream, rules: &Rules) -> io::Result<Result<Request, Response>> {
    let began = Instant::now();
    let mut head = Vec::with_capacity(1 << 10);
    let mut chunk = [0; 1 << 10];
    loop {
        stream.set_read_timeout(Some(left(began, rules.times.head)?))?;
        let room = HEAD_BYTES_MAX.saturating_sub(head.len()).min(chunk.len());
        let read = stream.read(chunk.get_mut(..room).unwrap_or_default())?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(chunk.get(..read).unwrap_or_default());
        match parse(&head, &rules.hosts) {
            Ok(None) => {}
            Ok(Some(request)) => return Ok(Ok(request)),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
}

fn send(mut stream: &TcpStream, texts: [&str; 2], within: Duration) -> io::Result<()> {
    let began = Instant::now();
    for text in texts {
        let mut bytes = text.as_bytes();
        while !bytes.is_empty() {
            stream.set_write_timeout(Some(left(began, within)?))?;
            let sent = stream.write(bytes)?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
    }
    Ok(())
}

/// Ends the response and reads what the client still sends: a reset would take the response from it.
fn close(mut stream: &TcpStream, within: Duration) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let began = Instant::now();
    let mut rest = [0; 1 << 10];
    loop {
        stream.set_read_timeout(Some(left(began, within)?))?;
        if stream.read(&mut rest)? == 0 {
            return Ok(());
        }
    }
}

/// Time that is left of `within`; an error if it has passed.
fn left(began: Instant, within: Duration) -> io::Result<Duration> {
    let left = within.saturating_sub(began.elapsed());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

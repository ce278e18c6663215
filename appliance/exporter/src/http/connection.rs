//! One connection: one request, one response, each within its time.

use super::host::Hosts;
use super::request::{HEAD_BYTES_MAX, Method, Request, parse};
use super::response::Response;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Time limit of the request's head.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// Time limit of the response.
const RESPONSE_TIME: Duration = Duration::from_secs(10);

/// Time limit of the client's close, after the response.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Serves the one request of a connection.
///
/// # Errors
/// Error of the connection, or a time limit that has passed.
pub fn serve(
    stream: &TcpStream,
    hosts: &Hosts,
    answer: &dyn Fn(&Request) -> Response,
) -> io::Result<()> {
    match read_request(stream, hosts)? {
        Ok(request) => {
            let response = answer(&request);
            let body = if request.method == Method::Head { "" } else { &*response.body };
            send(stream, &response.head(), body)?;
        }
        Err(refusal) => send(stream, &refusal.head(), &refusal.body)?,
    }
    close(stream)
}

fn read_request(mut stream: &TcpStream, hosts: &Hosts) -> io::Result<Result<Request, Response>> {
    let end = Instant::now() + HEAD_TIME;
    let mut head = Vec::with_capacity(1 << 10);
    let mut chunk = [0; 1 << 10];
    loop {
        stream.set_read_timeout(Some(left(end)?))?;
        let room = HEAD_BYTES_MAX.saturating_sub(head.len()).min(chunk.len());
        let read = stream.read(chunk.get_mut(..room).unwrap_or_default())?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(chunk.get(..read).unwrap_or_default());
        match parse(&head, hosts) {
            Ok(None) => {}
            Ok(Some(request)) => return Ok(Ok(request)),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
}

fn send(mut stream: &TcpStream, head: &str, body: &str) -> io::Result<()> {
    let end = Instant::now() + RESPONSE_TIME;
    for text in [head, body] {
        let mut bytes = text.as_bytes();
        while !bytes.is_empty() {
            stream.set_write_timeout(Some(left(end)?))?;
            let sent = stream.write(bytes)?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
    }
    Ok(())
}

/// Ends the response and reads what the client still sends: a reset would take the response from it.
fn close(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let end = Instant::now() + CLOSE_TIME;
    let mut rest = [0; 1 << 10];
    loop {
        stream.set_read_timeout(Some(left(end)?))?;
        if stream.read(&mut rest)? == 0 {
            return Ok(());
        }
    }
}

/// Time that is left until `end`.
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

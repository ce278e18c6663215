//! Client of the RPC socket.

use crate::RpcError;
use crate::framing::{Framer, Limits};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Error of a call.
#[derive(Debug, Error)]
pub enum CallError {
    /// The server answered with an error.
    #[error("{0} (code {code})", code = .0.code.0)]
    Rpc(RpcError),
    /// No server listens at the path.
    #[error("no Luge answers at {path}: {source}; is it running, and is this its RPC socket (-s)?")]
    Connect {
        /// Path of the socket.
        path: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
    /// The connection failed.
    #[error("the call got no answer: {0}; what it asked for may have been done")]
    Connection(#[from] io::Error),
    /// No answer arrived in time.
    #[error("the call got no answer in time, and may still be under way: wait longer (-t)")]
    Timeout,
    /// The server closed the connection.
    #[error("the server closed the connection before it answered: is Luge stopping?")]
    Closed,
    /// The server's reply is not an answer of JSON-RPC 2.0.
    #[error("the answer is not one of JSON-RPC 2.0: {0}; is this the RPC socket of a Luge (-s)?")]
    Answer(String),
}

/// Answer of a server.
#[derive(Deserialize)]
struct Answer {
    id: Value,
    #[serde(flatten)]
    outcome: Outcome,
}

/// Outcome of a call: exactly one of two members.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Result(Value),
    Error(RpcError),
}

/// A connection to a server; makes one call at a time.
pub struct Client {
    stream: UnixStream,
    framer: Framer,
    calls: u64,
}

impl Client {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// [`CallError::Connect`].
    pub fn connect(path: &Path) -> Result<Self, CallError> {
        let stream =
            UnixStream::connect(path).map_err(|source| CallError::Connect { path: path.into(), source })?;
        Ok(Self { stream, framer: Framer::new(Limits::ANSWER), calls: 0 })
    }

    /// Limits the wait for each piece of an answer.
    ///
    /// # Errors
    /// `InvalidInput` if `timeout` is zero.
    pub fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(timeout))
    }

    /// Calls a method; `params` is an object, or null for none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, CallError> {
        self.calls = self.calls.wrapping_add(1);
        let mut request = json!({ "jsonrpc": "2.0", "method": method, "id": self.calls });
        if let (false, Some(members)) = (params.is_null(), request.as_object_mut()) {
            members.insert("params".into(), params);
        }
        self.stream.write_all(request.to_string().as_bytes()).or_else(ignore_closed)?;
        let answer: Answer =
            serde_json::from_slice(&self.receive()?).map_err(|error| CallError::Answer(error.to_string()))?;
        match answer.outcome {
            Outcome::Result(result) if answer.id == self.calls => Ok(result),
            Outcome::Result(_) => Err(CallError::Answer(format!("its id is {}", answer.id))),
            Outcome::Error(error) => Err(CallError::Rpc(error)),
        }
    }

    fn receive(&mut self) -> Result<Vec<u8>, CallError> {
        let mut chunk = vec![0; 64 << 10];
        loop {
            let read = self.stream.read(&mut chunk).map_err(read_error)?;
            let mut input = chunk.get(..read).unwrap_or_default();
            if input.is_empty() {
                return Err(CallError::Closed);
            }
            let text = self.framer.next(&mut input);
            if let Some(text) = text.map_err(|error| CallError::Answer(error.to_string()))? {
                return Ok(text);
            }
        }
    }
}

fn read_error(error: io::Error) -> CallError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => CallError::Timeout,
        _ => error.into(),
    }
}

/// Ignores that the server has closed the connection: an answer that says why may still be readable.
fn ignore_closed(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(()),
        _ => Err(error),
    }
}

//! A JSON-RPC 2.0 client, written from the specification, to test Luge's server independently.

use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Time limit for the answer of a method.
const ANSWER_SECONDS: u32 = 60;

/// A connection to Luge's RPC socket.
pub struct Rpc {
    stream: UnixStream,
    asked: u64,
}

impl Rpc {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// If no server listens there.
    pub fn connect(path: &Path) -> Result<Self, TestError> {
        let connecting = || format!("connecting to {}", path.display());
        let stream = UnixStream::connect(path).doing(connecting)?;
        stream.set_read_timeout(Some(Deadline::within(ANSWER_SECONDS).left())).doing(connecting)?;
        Ok(Self { stream, asked: 0 })
    }

    /// Calls a method and returns its result.
    ///
    /// # Errors
    /// [`TestError::Refused`] contains the error object of the answer.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, TestError> {
        self.asked += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.asked, "method": method, "params": params });
        self.stream.write_all(request.to_string().as_bytes()).doing(|| format!("calling {method}"))?;
        let mut answer = self.read()?;
        if answer["id"] != self.asked || answer["jsonrpc"] != "2.0" {
            return Err(TestError::Confused { who: method.to_owned(), said: answer.to_string() });
        }
        match answer.get_mut("error") {
            Some(error) => Err(TestError::Refused { command: method.to_owned(), answer: error.take() }),
            None => Ok(answer["result"].take()),
        }
    }

    /// Calls a method that has to be refused, and returns the error's message.
    ///
    /// # Errors
    /// If the call is not refused.
    pub fn refusal(&mut self, method: &str, params: Value) -> Result<String, TestError> {
        match self.call(method, params) {
            Err(TestError::Refused { answer, .. }) => Ok(answer["message"].to_string()),
            Err(error) => Err(error),
            Ok(result) => Err(TestError::Confused { who: method.to_owned(), said: result.to_string() }),
        }
    }

    fn read(&mut self) -> Result<Value, TestError> {
        // Answers have no framing: an object ends where its braces close.
        let mut answers = serde_json::Deserializer::from_reader(&self.stream).into_iter::<Value>();
        let confused = |said| TestError::Confused { who: "luge".to_owned(), said };
        match answers.next() {
            Some(answer) => answer.map_err(|error| confused(error.to_string())),
            None => Err(confused("none, and the connection was closed".to_owned())),
        }
    }
}

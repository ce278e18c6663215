//! Source that calls methods over the RPC socket, and connects again after a failure.

use crate::source::{Source, SourceError};
use luge_rpc::{CallError, Client, Code, RpcError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time limit for each piece of an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Client of an RPC socket. Connects at the first call, and again at the first call after a failure.
pub struct Socket {
    path: PathBuf,
    connection: Option<Connection>,
}

/// Connection to a server.
struct Connection {
    client: Client,
    /// Methods that the server does not have. They are not called again: it logs each refusal.
    unknown: BTreeMap<String, RpcError>,
}

impl Socket {
    /// Client of the socket at `path`, not connected yet.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, connection: None }
    }

    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, CallError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(&self.path)?),
        };
        connection.call(method, params)
    }
}

impl Connection {
    fn open(path: &Path) -> Result<Self, CallError> {
        let mut client = Client::connect(path)?;
        client.set_timeout(TIMEOUT)?;
        Ok(Self { client, unknown: BTreeMap::new() })
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value, CallError> {
        if let Some(refusal) = self.unknown.get(method) {
            return Err(CallError::Rpc(refusal.clone()));
        }
        let outcome = self.client.call(method, params);
        if let Err(CallError::Rpc(refusal)) = &outcome
            && refusal.code == Code::METHOD_NOT_FOUND
        {
            self.unknown.insert(method.to_owned(), refusal.clone());
        }
        outcome
    }
}

impl Source for Socket {
    fn call(&mut self, method: &str, params: Value) -> Result<Value, SourceError> {
        match self.try_call(method, params) {
            Ok(result) => Ok(result),
            Err(CallError::Rpc(error)) => {
                Err(SourceError::Refused { code: error.code.0.into(), message: error.message })
            }
            Err(error) => {
                // An answer that comes late would be taken for that of the next call.
                self.connection = None;
                Err(SourceError::Away(error.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    /// Serves one call of one connection with a text.
    fn answer_once(listener: &UnixListener, text: &str) {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_server_that_went_away_and_came_back_is_called_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpc.sock");
        let mut socket = Socket::new(path.clone());
        let away = socket.call("m", Value::Null).unwrap_err();
        assert!(matches!(&away, SourceError::Away(reason) if reason.contains("rpc.sock")), "{away}");
        for round in 0..2 {
            let listener = UnixListener::bind(&path).unwrap();
            let server = std::thread::spawn(move || {
                answer_once(&listener, r#"{"jsonrpc":"2.0","id":1,"result":7}"#);
            });
            assert_eq!(socket.call("m", Value::Null), Ok(json!(7)), "round {round}");
            server.join().unwrap();
            std::fs::remove_file(&path).unwrap();
            let gone = socket.call("m", Value::Null).unwrap_err();
            assert!(matches!(gone, SourceError::Away(_)), "{gone}");
        }
    }

    #[test]
    fn a_method_that_the_server_does_not_have_is_called_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpc.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let text = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#;
            answer_once(&listener, text);
        });
        let mut socket = Socket::new(path);
        let refused = SourceError::Refused { code: -32601, message: "no".into() };
        for call in 0..2 {
            assert_eq!(socket.call("m", Value::Null), Err(refused.clone()), "call {call}");
        }
        server.join().unwrap();
    }
}

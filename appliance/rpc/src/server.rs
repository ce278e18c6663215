//! The RPC socket and the thread that accepts its connections.

use crate::connections::{Connections, UNREAD};
use crate::socket::Claim;
use crate::{Dispatcher, ListenError};
use luge_socket::Permissions;
use rustix::net::{Shutdown, shutdown};
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long to leave the socket alone when the process is out of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// A listening RPC socket. Dropping it ends its connections and removes the socket.
pub struct Server {
    listener: Arc<UnixListener>,
    connections: Arc<Connections>,
    thread: Option<JoinHandle<()>>,
    _claim: Claim,
}

impl Server {
    /// Listens at `path`, for those who may connect, for calls of the dispatcher's methods.
    ///
    /// # Errors
    /// [`ListenError`] if the path is in use or cannot be.
    pub fn start(
        path: &Path,
        permissions: &Permissions,
        dispatcher: Arc<Dispatcher>,
    ) -> Result<Self, ListenError> {
        let claim = Claim::listen(path, permissions)?;
        Self::serve(claim, dispatcher, Connections::new(UNREAD))
    }

    fn serve(
        (claim, listener): (Claim, UnixListener),
        dispatcher: Arc<Dispatcher>,
        connections: Connections,
    ) -> Result<Self, ListenError> {
        let (listener, connections) = (Arc::new(listener), Arc::new(connections));
        let (theirs, open) = (listener.clone(), connections.clone());
        let thread = std::thread::Builder::new()
            .name("rpc".into())
            .spawn(move || accept(&theirs, &open, &dispatcher))
            .map_err(ListenError::Serve)?;
        Ok(Self { listener, connections, thread: Some(thread), _claim: claim })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes the accepting thread, whose `accept` fails with EINVAL from now on.
        let _ = shutdown(&*self.listener, Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.connections.end();
    }
}

fn accept(listener: &UnixListener, connections: &Arc<Connections>, dispatcher: &Arc<Dispatcher>) {
    for id in 0.. {
        match listener.accept() {
            Ok((stream, _)) => connections.serve(id, stream, dispatcher.clone()),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                tracing::warn!("cannot accept an RPC connection: {error}");
                std::thread::sleep(PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CallError, Client, Method, NoParams, RpcError, Stage, params};
    use serde_json::{Value, json};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    params! {
        struct Echo {
            /// Comes back
            text: String,
        }
    }

    struct Rig {
        folder: tempfile::TempDir,
        dispatcher: Arc<Dispatcher>,
        server: Option<Server>,
    }

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let echo = Method::new("echo", "Says it again", &[Stage::Startup], |echo: Echo| Ok(echo.text));
            let fail = Method::new("fail", "Fails", &[Stage::Startup], |_: NoParams| {
                Err::<(), _>(RpcError::busy("not now"))
            });
            let dispatcher = Arc::new(Dispatcher::new([echo, fail]));
            let server = Some(
                Server::start(&folder.path().join("s"), &Permissions::OWNER, dispatcher.clone()).unwrap(),
            );
            Self { folder, dispatcher, server }
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
        let ask =
            |id: u32| json!({"jsonrpc":"2.0","method":"echo","params":{"text":"x"},"id":id}).to_string();
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
    fn a_connection_that_talks_nonsense_is_told_so_and_closed_and_others_go_on() {
        let rig = Rig::new();
        let silent: Vec<_> = (0..10).map(|_| UnixStream::connect(rig.path()).unwrap()).collect();
        for nonsense in ["GET / HTTP/1.1\r\n", "{\"jsonrpc\" 7}", "{\"half\":"] {
            let mut stream = UnixStream::connect(rig.path()).unwrap();
            stream.write_all(nonsense.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(
                (&answer["error"]["code"], &answer["id"]),
                (&json!(-32700), &Value::Null),
                "{nonsense}"
            );
        }
        assert_eq!(rig.call("echo", json!({"text": "still here"})).unwrap(), "still here");
        drop(silent);
    }

    #[test]
    fn more_connections_than_allowed_are_refused_until_some_end() {
        let rig = Rig::new();
        let mut held = Vec::new();
        let refused = loop {
            let mut client = Client::connect(&rig.path()).unwrap();
            match client.call("echo", json!({"text": "me"})) {
                Ok(_) => held.push(client),
                Err(error) => break error,
            }
            assert!(held.len() < 1000, "no limit");
        };
        assert!(refused.to_string().contains("connections"), "{refused}");
        held.clear();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while rig.call("echo", json!({"text": "me"})).is_err() {
            assert!(std::time::Instant::now() < deadline, "connections are never given back");
        }
    }

    #[test]
    fn a_client_that_never_reads_is_cut_off_and_others_are_served_meanwhile() {
        let mut rig = Rig::new();
        drop(rig.server.take());
        let connections = Connections::new(Duration::from_millis(200));
        let claim = Claim::listen(&rig.path(), &Permissions::OWNER).unwrap();
        rig.server = Some(Server::serve(claim, rig.dispatcher.clone(), connections).unwrap());
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
}

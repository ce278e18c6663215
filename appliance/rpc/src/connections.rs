//! The connections of a server: each a thread that reads requests and writes answers, in order.

use crate::Dispatcher;
use crate::answer::{Reply, answer};
use crate::framing::{Framer, Limits};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Connections at one time. Beyond that, a new one is told so and closed.
const CONNECTIONS: usize = 64;

/// How long a stop waits for the answers that are being written.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a client may leave an answer unread before it is cut off: it holds one of the
/// places for connections.
pub(crate) const UNREAD: Duration = Duration::from_secs(30);

/// Bytes read at a time.
const CHUNK: usize = 16 << 10;

/// The open connections of a server.
pub(crate) struct Connections {
    open: Mutex<BTreeMap<u64, Arc<UnixStream>>>,
    closed: Condvar,
    unread: Duration,
}

impl Connections {
    /// None yet; a client that leaves an answer unread for longer than `unread` is cut off.
    pub(crate) fn new(unread: Duration) -> Self {
        Self { open: Mutex::default(), closed: Condvar::new(), unread }
    }

    /// Serves a connection from a thread of its own.
    pub(crate) fn serve(self: &Arc<Self>, id: u64, stream: UnixStream, dispatcher: Arc<Dispatcher>) {
        let stream = Arc::new(stream);
        {
            let mut open = self.lock();
            if open.len() >= CONNECTIONS {
                let reply = Reply::last(format_args!("{CONNECTIONS} RPC connections are open already"));
                let _ = (&*stream).write(&reply.text);
                return;
            }
            open.insert(id, stream.clone());
        }
        let all = self.clone();
        let thread = std::thread::Builder::new().name(format!("rpc-{id}")).spawn(move || {
            let open = Open { all, id };
            let unread = stream.set_write_timeout(Some(open.all.unread));
            if let Err(error) = unread.and_then(|()| converse(&stream, &dispatcher)) {
                tracing::debug!("RPC connection {id} ended: {error}");
            }
        });
        if let Err(error) = thread {
            self.forget(id);
            tracing::error!("no thread for an RPC connection: {error}");
        }
    }

    /// Ends all connections: reads no more requests, and waits a while for the answers.
    pub(crate) fn end(&self) {
        let mut open = self.lock();
        for stream in open.values() {
            let _ = stream.shutdown(Shutdown::Read);
        }
        let waited = self.closed.wait_timeout_while(open, PATIENCE, |open| !open.is_empty());
        (open, _) = waited.unwrap_or_else(PoisonError::into_inner);
        for stream in open.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn forget(&self, id: u64) {
        self.lock().remove(&id);
        self.closed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<UnixStream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry in the table of connections, however its thread ends.
struct Open {
    all: Arc<Connections>,
    id: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.all.forget(self.id);
    }
}

/// Reads requests and writes answers until the peer, or the stream's sense, has ended.
fn converse(mut stream: &UnixStream, dispatcher: &Dispatcher) -> io::Result<()> {
    let mut framer = Framer::new(Limits::REQUEST);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = stream.read(&mut chunk)?;
        let mut input = chunk.get(..read).unwrap_or_default();
        if input.is_empty() {
            return farewell(stream, &framer);
        }
        while let Some(reply) = next_reply(&mut framer, &mut input, dispatcher) {
            stream.write_all(&reply.text)?;
            if !reply.more {
                return Ok(());
            }
        }
    }
}

fn next_reply(framer: &mut Framer, input: &mut &[u8], dispatcher: &Dispatcher) -> Option<Reply> {
    match framer.next(input) {
        Ok(text) => text.map(|text| answer(dispatcher, &text)),
        Err(error) => Some(Reply::last(error)),
    }
}

/// A peer that closed its side in the middle of a request may still be listening.
fn farewell(mut stream: &UnixStream, framer: &Framer) -> io::Result<()> {
    if framer.is_inside() {
        stream.write_all(&Reply::last("the connection ended in the middle of a message").text)?;
    }
    Ok(())
}

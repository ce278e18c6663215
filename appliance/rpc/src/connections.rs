//! The connections of a server: each a thread that reads requests and writes answers, in order.

use crate::answer::{Desk, Next, answer, last_words};
use crate::framing::{Framer, Limits};
use crate::places::{Doing, Places, SHORT_BYTES, is_connected};
use crate::{Caller, Code, Dispatcher, RpcError, Stage};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// How long a stop waits for the answers that are being written.
const PATIENCE: Duration = Duration::from_secs(2);

/// Time limit for a client to read an answer before it is cut off.
pub(crate) const UNREAD: Duration = Duration::from_secs(30);

/// The open connections of a server.
pub(crate) struct Connections {
    places: Places,
    unread: Duration,
}

impl Connections {
    /// None yet; a client that leaves an answer unread for longer than `unread` is cut off.
    pub(crate) fn new(unread: Duration) -> Self {
        Self { places: Places::default(), unread }
    }

    /// Serves a connection from a thread of its own.
    pub(crate) fn serve(self: &Arc<Self>, id: u64, stream: UnixStream, dispatcher: Arc<Dispatcher>) {
        let stream = Arc::new(stream);
        if let Err(error) = self.places.admit(id, stream.clone()) {
            tracing::warn!("a client is turned away: {error}");
            let _ = (&*stream).write(&last_words(error));
            return;
        }
        let connection = Connection { all: self.clone(), id, stream, dispatcher };
        let thread = std::thread::Builder::new().name(format!("rpc-{id}")).spawn(move || {
            if let Err(error) = connection.converse() {
                tracing::debug!("RPC connection {id} ended: {error}");
            }
        });
        if let Err(error) = thread {
            tracing::error!("no thread for an RPC connection: {error}; it is closed");
        }
    }

    /// Ends all connections: reads no more requests, and waits a while for the answers.
    pub(crate) fn end(&self) {
        self.places.end(PATIENCE);
    }
}

/// A connection; its place is free again when it is dropped, however its thread ends.
struct Connection {
    all: Arc<Connections>,
    id: u64,
    stream: Arc<UnixStream>,
    dispatcher: Arc<Dispatcher>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.places.leave(self.id);
    }
}

impl Connection {
    /// Reads requests and writes answers until the peer, or the stream's sense, has ended.
    fn converse(&self) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.all.unread))?;
        let mut framer = Framer::new(Limits::REQUEST);
        let mut chunk = vec![0; SHORT_BYTES];
        loop {
            let read = (&*self.stream).read(&mut chunk)?;
            let mut input = chunk.get(..read).unwrap_or_default();
            if input.is_empty() {
                return self.farewell(&framer);
            }
            if !framer.is_inside() {
                self.all.places.receive(self.id);
            }
            if self.answer_all(&mut framer, &mut input)? == Next::End {
                return Ok(());
            }
            if let Err(error) = self.all.places.hold_request(self.id, framer.held_bytes()) {
                return self.send(last_words(error));
            }
        }
    }

    /// Answers the requests that end within `input`.
    fn answer_all(&self, framer: &mut Framer, input: &mut &[u8]) -> io::Result<Next> {
        loop {
            match framer.next(input) {
                Ok(None) => return Ok(Next::Request),
                Ok(Some(text)) => {
                    if self.answer(&text)? == Next::End {
                        return Ok(Next::End);
                    }
                }
                Err(error) => {
                    self.send(last_words(RpcError::new(Code::PARSE_ERROR, error)))?;
                    return Ok(Next::End);
                }
            }
        }
    }

    fn answer(&self, text: &[u8]) -> io::Result<Next> {
        let places = &self.all.places;
        let wants_answer = || self.dispatcher.stage() != Stage::Stopping && is_connected(&self.stream);
        let caller = Caller::new(wants_answer).counted(places.waiting.clone());
        let begin = || places.enter(self.id, Doing::Calling);
        let desk = Desk { dispatcher: &self.dispatcher, caller, parsing: &places.parsing, begin: &begin };
        begin();
        let next = answer(&desk, text, &mut |text| self.send(text));
        places.enter(self.id, Doing::Reading);
        next
    }

    fn send(&self, text: Vec<u8>) -> io::Result<()> {
        let places = &self.all.places;
        places.hold_answer(self.id, text.len()).map_err(io::Error::other)?;
        places.enter(self.id, Doing::Writing);
        (&*self.stream).write_all(&text)?;
        places.hold_answer(self.id, 0).map_err(io::Error::other)
    }

    /// A peer that closed its side in the middle of a request may still be listening.
    fn farewell(&self, framer: &Framer) -> io::Result<()> {
        if framer.is_inside() {
            let error = RpcError::new(Code::PARSE_ERROR, "the connection ended in the middle of a message");
            self.send(last_words(error))?;
        }
        Ok(())
    }
}

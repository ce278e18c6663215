//! Connections of a server: each has a thread that reads requests and writes answers in order.

use crate::answer::{CallContext, Next, answer, closing_error};
use crate::connection_table::{Activity, ConnectionTable, SHORT_BYTES, is_connected};
use crate::framing::{Framer, Limits};
use crate::{Caller, Code, Dispatcher, RpcError, Stage};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// Time limit of a server's stop for the answers that are being written.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit for a client to read an answer before its connection is closed.
pub(crate) const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Open connections of a server.
pub(crate) struct Connections {
    table: ConnectionTable,
    unread_timeout: Duration,
}

impl Connections {
    pub(crate) fn new(unread_timeout: Duration) -> Self {
        Self { table: ConnectionTable::default(), unread_timeout }
    }

    /// Serves a connection in a thread of its own.
    pub(crate) fn serve(self: &Arc<Self>, id: u64, stream: UnixStream, dispatcher: Arc<Dispatcher>) {
        let stream = Arc::new(stream);
        if let Err(error) = self.table.admit(id, stream.clone()) {
            tracing::warn!("an RPC connection is refused: {error}");
            let _ = (&*stream).write(&closing_error(error));
            return;
        }
        let connection = Connection { all: self.clone(), id, stream, dispatcher };
        let thread = std::thread::Builder::new().name(format!("rpc-{id}")).spawn(move || {
            if let Err(error) = connection.serve() {
                tracing::debug!("RPC connection {id} ended: {error}");
            }
        });
        if let Err(error) = thread {
            tracing::error!("an RPC connection is closed, because no thread can be started for it: {error}");
        }
    }

    /// Ends all connections: reads no more requests, and waits [`STOP_TIMEOUT`] for the answers.
    pub(crate) fn end(&self) {
        self.table.end(STOP_TIMEOUT);
    }
}

/// A connection; dropping it removes it from the table, even if its thread panics.
struct Connection {
    all: Arc<Connections>,
    id: u64,
    stream: Arc<UnixStream>,
    dispatcher: Arc<Dispatcher>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.table.leave(self.id);
    }
}

impl Connection {
    /// Reads requests and writes answers until the client closes the stream or its input is invalid.
    fn serve(&self) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.all.unread_timeout))?;
        let mut framer = Framer::new(Limits::REQUEST);
        let mut chunk = vec![0; SHORT_BYTES];
        loop {
            let read = (&*self.stream).read(&mut chunk)?;
            let mut input = chunk.get(..read).unwrap_or_default();
            if input.is_empty() {
                return self.report_truncation(&framer);
            }
            if !framer.is_inside() {
                self.all.table.receive(self.id);
            }
            if self.answer_all(&mut framer, &mut input)? == Next::End {
                return Ok(());
            }
            if let Err(error) = self.all.table.hold_request(self.id, framer.held_bytes()) {
                return self.send(closing_error(error));
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
                    self.send(closing_error(RpcError::new(Code::PARSE_ERROR, error)))?;
                    return Ok(Next::End);
                }
            }
        }
    }

    fn answer(&self, text: &[u8]) -> io::Result<Next> {
        let table = &self.all.table;
        let wants_answer = || self.dispatcher.stage() != Stage::Stopping && is_connected(&self.stream);
        let caller = Caller::new(wants_answer).counted(table.waiting.clone());
        let begin = || table.enter(self.id, Activity::Calling);
        let context =
            CallContext { dispatcher: &self.dispatcher, caller, parsing: &table.parsing, begin: &begin };
        begin();
        let next = answer(&context, text, &mut |text| self.send(text));
        table.enter(self.id, Activity::Reading);
        next
    }

    fn send(&self, text: Vec<u8>) -> io::Result<()> {
        let table = &self.all.table;
        table.hold_answer(self.id, text.len()).map_err(io::Error::other)?;
        table.enter(self.id, Activity::Writing);
        (&*self.stream).write_all(&text)?;
        table.hold_answer(self.id, 0).map_err(io::Error::other)
    }

    /// Answers an unfinished request with an error: a client that shut down its writing side can still
    /// read.
    fn report_truncation(&self, framer: &Framer) -> io::Result<()> {
        if framer.is_inside() {
            let error = RpcError::new(Code::PARSE_ERROR, "the connection ended in the middle of a message");
            self.send(closing_error(error))?;
        }
        Ok(())
    }
}

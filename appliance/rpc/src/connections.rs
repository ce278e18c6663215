//! Connections of a server: each has a thread that reads requests and writes answers in order.

use crate::answer::{CallContext, Next, answer, closing_error};
use crate::connection_table::{ConnectionTable, SHORT_BYTES};
use crate::entry::{Activity, is_connected};
use crate::framing::{Framer, Limits};
use crate::log_limit::LogLimit;
use crate::parsing::Client;
use crate::timed::{read_until, write_until};
use crate::{Caller, Code, Dispatcher, RpcError, Stage};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Limit on log lines about refused connections.
static REFUSALS: LogLimit = LogLimit::new("refused RPC connections", 4);

/// Time limit of a server's stop for the answers that are being written.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limits for clients. Their calls, and the time between them, have none.
#[derive(Clone, Copy)]
pub(crate) struct Timeouts {
    /// Time for a whole request, from its first byte. Somebody may be typing it.
    pub(crate) request: Duration,
    /// Time for the client to read a whole answer.
    pub(crate) answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { request: Duration::from_secs(60), answer: Duration::from_secs(30) }
    }
}

/// Open connections of a server.
#[derive(Default)]
pub(crate) struct Connections {
    table: ConnectionTable,
    timeouts: Timeouts,
}

impl Connections {
    #[cfg(test)]
    pub(crate) fn with(timeouts: Timeouts) -> Self {
        Self { timeouts, ..Self::default() }
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.table.count()
    }

    /// Closes an idle connection to free its file descriptor, within `timeout`; false if none is idle.
    pub(crate) fn free_descriptor(&self, timeout: Duration) -> bool {
        self.table.close_one(timeout)
    }

    /// Serves a connection in a thread of its own.
    pub(crate) fn serve(self: &Arc<Self>, id: u64, stream: UnixStream, dispatcher: Arc<Dispatcher>) {
        let stream = Arc::new(stream);
        if let Err(error) = self.table.admit(id, stream.clone()) {
            REFUSALS.line(|| tracing::warn!("an RPC connection is refused: {error}"));
            let _ = (&*stream).write(&closing_error(error));
            return;
        }
        let client = Client::of(&stream, id);
        let place = ConnectionEntry { all: self.clone(), id };
        let connection = Connection { stream, dispatcher, client, place };
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

/// A connection.
struct Connection {
    /// Closed before the place is free for another.
    stream: Arc<UnixStream>,
    dispatcher: Arc<Dispatcher>,
    client: Client,
    place: ConnectionEntry,
}

/// Entry of a connection in the table; dropping it removes the connection, even if its thread panics.
struct ConnectionEntry {
    all: Arc<Connections>,
    id: u64,
}

impl Drop for ConnectionEntry {
    fn drop(&mut self) {
        self.all.table.leave(self.id);
    }
}

impl Connection {
    /// Reads requests and writes answers until the client closes the stream or its input is invalid.
    fn serve(&self) -> io::Result<()> {
        let mut framer = Framer::new(Limits::REQUEST);
        let mut chunk = vec![0; SHORT_BYTES];
        let mut deadline = None;
        loop {
            let read = match read_until(&self.stream, &mut chunk, deadline) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return self.report_slowness(),
                read => read?,
            };
            let mut input = chunk.get(..read).unwrap_or_default();
            if input.is_empty() {
                return self.report_truncation(&framer);
            }
            if !framer.is_inside() {
                self.place.all.table.receive(self.place.id);
            }
            let texts = framer.texts();
            if self.answer_all(&mut framer, &mut input)? == Next::End {
                return Ok(());
            }
            // Not before: until then the connection has requests to answer, and is not idle.
            let waits = if framer.is_inside() { Activity::Receiving } else { Activity::Reading };
            self.place.all.table.enter(self.place.id, waits);
            if let Err(error) = self.place.all.table.hold_request(self.place.id, framer.held_bytes()) {
                return self.send(closing_error(error));
            }
            deadline = self.deadline(deadline.filter(|_| texts == framer.texts()), &framer);
        }
    }

    /// Deadline for the rest of the present request, if one has begun. It stays as it is until the request
    /// ends.
    fn deadline(&self, present: Option<Instant>, framer: &Framer) -> Option<Instant> {
        let fresh = || Instant::now().checked_add(self.place.all.timeouts.request);
        if framer.is_inside() { present.or_else(fresh) } else { None }
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
        let table = &self.place.all.table;
        let wants_answer = || self.dispatcher.stage() != Stage::Stopping && is_connected(&self.stream);
        let caller = Caller::new(wants_answer).counted(table.waiting.clone());
        let begin = || table.enter(self.place.id, Activity::Calling);
        let context = CallContext {
            dispatcher: &self.dispatcher,
            caller,
            parsing: &table.parsing,
            client: self.client,
            begin: &begin,
            reserve: &|bytes| table.hold_answer(self.place.id, bytes),
        };
        begin();
        answer(&context, text, &mut |text| self.send(text))
    }

    fn send(&self, text: Vec<u8>) -> io::Result<()> {
        let (table, timeout) = (&self.place.all.table, self.place.all.timeouts.answer);
        let deadline = Instant::now().checked_add(timeout).ok_or(io::ErrorKind::InvalidInput)?;
        table.enter(self.place.id, Activity::Writing);
        write_until(&self.stream, &text, deadline)?;
        // More requests may be at hand.
        table.enter(self.place.id, Activity::Calling);
        table.release_answer(self.place.id);
        Ok(())
    }

    fn report_slowness(&self) -> io::Result<()> {
        let limit = self.place.all.timeouts.request;
        self.send(closing_error(RpcError::new(
            Code::PARSE_ERROR,
            format_args!("a request must be complete {limit:?} after its first byte: send it at once"),
        )))
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

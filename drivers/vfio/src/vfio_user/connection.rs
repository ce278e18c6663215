//! Connection to a server: one message at a time, and its reply.
//!
//! ```text
//!   1 Open --no reply in time, or one against the protocol--> 2 Given up --the server closes its end--> 3 Ended
//!      |                                                                                                   ^
//!      +------------------------the server closes its end, or we close ours--------------------------------+
//! ```
//!
//! Invariants
//! - The server is not trusted: a reply has the identifier and the command of its message, and a length and
//!   descriptors that such a reply may have; anything else is the end.
//! - Those who wait for a server lose a bounded time (`reply_time`), and none after the first loss.
//! - In 2 the server may still access memory, and in 3 it does not: its process has ended, or knows that the client has
//!   gone.
//!
//! Not here: the messages (`calls`).

use super::reply_time::ReplyTime;
use super::socket::Socket;
use luge_spec::vfio_user::{Command, Header, MessageFlags};
use rustix::fd::{BorrowedFd, OwnedFd};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

/// Longest payload that is accepted from a server, in bytes.
pub const PAYLOAD_MAX: u32 = 4096;

/// The most commands of a server that are answered before its reply has to come.
const COMMANDS_MAX: usize = 16;

/// Reason why a connection is used no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum End {
    /// The server has closed its end.
    #[error("the server has ended, or has closed the connection")]
    ClosedByServer,
    /// No reply came in time.
    #[error("the server did not answer in time")]
    Silent,
    /// A reply was against the protocol.
    #[error("the server broke the protocol: {0}")]
    Broken(&'static str),
    /// The function was handed back.
    #[error("the connection is closed")]
    ClosedByUs,
}

/// Failure of a call.
#[derive(Debug, Error)]
pub enum CallError {
    /// The connection is used no more.
    #[error(transparent)]
    Ended(#[from] End),
    /// The server has answered with an error.
    #[error("the server refused {command}: {reason}")]
    Refused {
        /// Command.
        command: Command,
        /// Error of the server.
        reason: io::Error,
    },
}

impl CallError {
    /// Error for callers that know nothing of servers, about the server `name`.
    pub fn about(self, name: &str) -> io::Error {
        let kind = match &self {
            Self::Ended(End::Silent) => io::ErrorKind::TimedOut,
            Self::Ended(End::Broken(_)) => io::ErrorKind::InvalidData,
            Self::Ended(_) => io::ErrorKind::NotConnected,
            Self::Refused { reason, .. } => reason.kind(),
        };
        io::Error::new(kind, format!("{name}: {self}"))
    }
}

/// Reply of a server.
#[derive(Debug, Default)]
pub struct Reply {
    /// Payload, of [`PAYLOAD_MAX`] bytes at most.
    pub payload: Vec<u8>,
    /// Descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

/// Connection to a server.
#[derive(Debug)]
pub struct Connection {
    name: String,
    wire: Mutex<Wire>,
}

#[derive(Debug)]
struct Wire {
    /// None after we have closed our end.
    socket: Option<Socket>,
    reply_time: ReplyTime,
    last_id: u16,
    end: Option<End>,
}

impl Connection {
    /// Connection by a socket, to the server `name`.
    pub fn new(name: &str, socket: Socket, reply_time: ReplyTime) -> Self {
        let wire = Wire { socket: Some(socket), reply_time, last_id: 0, end: None };
        Self { name: name.to_owned(), wire: Mutex::new(wire) }
    }

    /// Name of the server, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a message with its descriptors, and waits for the reply.
    ///
    /// # Errors
    /// [`CallError`]; the connection goes on after a refusal only.
    pub fn call(&self, command: Command, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Reply, CallError> {
        let mut wire = self.lock();
        let outcome = wire.call(Message { command, payload, fds });
        if let Err(CallError::Ended(end)) = &outcome {
            self.note(&mut wire, *end);
        }
        outcome
    }

    /// Uses the connection no more, because the server has broken the protocol.
    pub fn give_up(&self, why: &'static str) -> CallError {
        let end = End::Broken(why);
        self.note(&mut self.lock(), end);
        end.into()
    }

    /// Closes our end.
    pub fn close(&self) {
        let mut wire = self.lock();
        wire.end.get_or_insert(End::ClosedByUs);
        wire.socket = None;
    }

    /// Whether the connection is still used.
    pub fn is_open(&self) -> bool {
        self.lock().end.is_none()
    }

    /// Whether the server accesses no memory any more: 3.
    pub fn has_ended(&self) -> bool {
        self.lock().socket.as_ref().is_none_or(Socket::is_closed_by_server)
    }

    /// From 1 to 2: lets the server see that nothing more comes.
    fn note(&self, wire: &mut Wire, end: End) {
        if wire.end.is_some() {
            return;
        }
        wire.end = Some(end);
        wire.socket.as_ref().inspect(|socket| socket.finish());
        tracing::error!(controller = self.name, "{end}; it is used no more");
    }

    fn lock(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Message to a server.
struct Message<'a> {
    command: Command,
    payload: &'a [u8],
    fds: &'a [BorrowedFd<'a>],
}

impl Wire {
    fn call(&mut self, message: Message<'_>) -> Result<Reply, CallError> {
        if let Some(end) = self.end {
            return Err(end.into());
        }
        self.last_id = self.last_id.wrapping_add(1);
        let deadline = self.reply_time.deadline(Instant::now());
        let socket = self.socket.as_ref().ok_or(End::ClosedByUs)?;
        let exchange = Exchange { socket, id: self.last_id, deadline };
        let outcome = exchange.run(&message);
        self.reply_time.waited(Instant::now());
        outcome
    }
}

/// A message and its reply.
struct Exchange<'a> {
    socket: &'a Socket,
    id: u16,
    deadline: Instant,
}

impl Exchange<'_> {
    fn run(&self, message: &Message<'_>) -> Result<Reply, CallError> {
        let &Message { command, payload, fds } = message;
        let header = self.header(command, payload.len())?;
        self.send(&[header.as_bytes(), payload].concat(), fds)?;
        for _ in 0..COMMANDS_MAX {
            let (header, reply) = self.receive()?;
            if header.flags.is_command() {
                self.refuse(header)?;
                continue;
            }
            if !header.flags.is_reply() || header.id.get() != self.id || header.command != command {
                return Err(End::Broken("it answered another message").into());
            }
            if header.flags.is_error() {
                return Err(CallError::Refused { command, reason: errno(header.error.get()) });
            }
            return Ok(reply);
        }
        Err(End::Broken("it sends commands without end").into())
    }

    fn header(&self, command: Command, payload: usize) -> Result<Header, End> {
        let size = u32::try_from(payload).ok().and_then(|len| len.checked_add(Header::BYTES));
        let size = size.ok_or(End::Broken("a message is too long"))?.into();
        Ok(Header { id: self.id.into(), command, size, flags: MessageFlags::COMMAND, error: 0.into() })
    }

    /// Answers a command of the server. It has no use for any: all memory that it gets comes with a descriptor.
    fn refuse(&self, header: Header) -> Result<(), End> {
        if header.flags.wants_no_reply() {
            return Ok(());
        }
        let (flags, error) = (MessageFlags::ERROR_REPLY, libc::EOPNOTSUPP.unsigned_abs().into());
        let header = Header { size: Header::BYTES.into(), flags, error, ..header };
        self.send(header.as_bytes(), &[])
    }

    fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), End> {
        self.socket.send(bytes, fds, self.deadline).map_err(end)
    }

    fn receive(&self) -> Result<(Header, Reply), End> {
        let (mut bytes, mut reply) = ([0; size_of::<Header>()], Reply::default());
        self.socket.receive(&mut bytes, &mut reply.fds, self.deadline).map_err(end)?;
        let header = Header::read_from_bytes(&bytes).map_err(|_| End::Broken("a header is too short"))?;
        let payload = header.size.get().checked_sub(Header::BYTES).filter(|&len| len <= PAYLOAD_MAX);
        let len = payload.ok_or(End::Broken("a message has an impossible length"))?;
        reply.payload.resize(len as usize, 0);
        self.socket.receive(&mut reply.payload, &mut reply.fds, self.deadline).map_err(end)?;
        Ok((header, reply))
    }
}

/// Error of a server.
fn errno(number: u32) -> io::Error {
    io::Error::from_raw_os_error(i32::try_from(number).unwrap_or(libc::EIO))
}

fn end(error: io::Error) -> End {
    match error.kind() {
        io::ErrorKind::TimedOut => End::Silent,
        io::ErrorKind::InvalidData => End::Broken("it sent too many descriptors"),
        _ => End::ClosedByServer,
    }
}

//! Client of the QEMU Machine Protocol (QMP): one JSON object per line.
//!
//! Invariants
//! - Input of QEMU is not trusted: a line has at most [`LINE_BYTES_MAX`] bytes, and an invalid message is
//!   an error that ends the connection.
//! - No wait is longer than its deadline.
//!
//! Not here: the sequence of commands (`supervisor`).

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Maximum length of a line. Expected lines have some hundred bytes.
const LINE_BYTES_MAX: usize = 256 * 1024;
/// Maximum number of events that are kept. The oldest are dropped beyond that.
const EVENTS_MAX: usize = 256;

/// Error of a connection or a command.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub(crate) enum QmpError {
    #[error("QEMU closed its control socket")]
    Closed,
    #[error("QEMU did not answer '{0}' in time")]
    Timeout(String),
    #[error("QEMU refused '{command}': {description}")]
    Refused { command: String, description: String },
    #[error("QEMU's control socket sent something that is not QMP: {0}")]
    Invalid(String),
    #[error("QEMU's control socket failed: {0}")]
    Socket(String),
}

/// Message of QEMU.
#[derive(Clone, PartialEq, Debug)]
enum Message {
    Greeting,
    Return(Value),
    Error(String),
    Event(Event),
}

/// Event of a VM.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Event {
    /// Name, such as `SHUTDOWN`.
    pub(crate) name: String,
    /// Data of the event, or null.
    pub(crate) data: Value,
}

impl Message {
    fn parse(line: &[u8]) -> Result<Self, QmpError> {
        let invalid = || QmpError::Invalid(String::from_utf8_lossy(line).chars().take(120).collect());
        let mut value: Value = serde_json::from_slice(line).map_err(|_| invalid())?;
        let object = value.as_object_mut().ok_or_else(invalid)?;
        if object.contains_key("QMP") {
            return Ok(Self::Greeting);
        }
        if let Some(result) = object.remove("return") {
            return Ok(Self::Return(result));
        }
        if let Some(error) = object.get("error") {
            let text = error.get("desc").and_then(Value::as_str).ok_or_else(invalid)?;
            return Ok(Self::Error(text.chars().take(500).collect()));
        }
        let name = object.get("event").and_then(Value::as_str).ok_or_else(invalid)?.to_owned();
        Ok(Self::Event(Event { name, data: object.remove("data").unwrap_or(Value::Null) }))
    }
}

/// Buffer that splits bytes into lines.
#[derive(Default, Debug)]
struct LineBuffer {
    bytes: VecDeque<u8>,
    /// Number of bytes at the front that were searched for an end of line.
    searched: usize,
}

impl LineBuffer {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Next complete line that is not empty, without its end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, QmpError> {
        while let Some(length) = self.bytes.iter().skip(self.searched).position(|&byte| byte == b'\n') {
            let end = self.searched.saturating_add(length);
            self.searched = 0;
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = line.trim_ascii();
            if !line.is_empty() {
                return Ok(Some(line.to_vec()));
            }
        }
        self.searched = self.bytes.len();
        if self.searched > LINE_BYTES_MAX {
            Err(QmpError::Invalid("a line without an end".into()))
        } else {
            Ok(None)
        }
    }
}

/// Connection to a QEMU.
#[derive(Debug)]
pub(crate) struct Qmp {
    stream: UnixStream,
    lines: LineBuffer,
    events: VecDeque<Event>,
}

impl Qmp {
    /// Receives the greeting and leaves the negotiation mode.
    pub(crate) fn open(stream: UnixStream, deadline: Instant) -> Result<Self, QmpError> {
        let mut qmp = Self { stream, lines: LineBuffer::default(), events: VecDeque::new() };
        match qmp.next_message("greeting", deadline)? {
            Message::Greeting => {}
            other => return Err(QmpError::Invalid(format!("{other:?} instead of a greeting"))),
        }
        qmp.execute("qmp_capabilities", deadline)?;
        Ok(qmp)
    }

    /// Sends a command without arguments and waits for its result.
    pub(crate) fn execute(&mut self, command: &str, deadline: Instant) -> Result<Value, QmpError> {
        let failed = |error: std::io::Error| QmpError::Socket(error.to_string());
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_write_timeout(Some(left)).map_err(failed)?;
        let line = format!("{}\n", json!({ "execute": command }));
        self.stream.write_all(line.as_bytes()).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => QmpError::Closed,
            ErrorKind::WouldBlock => QmpError::Timeout(command.to_owned()),
            _ => failed(error),
        })?;
        loop {
            match self.next_message(command, deadline)? {
                Message::Return(value) => return Ok(value),
                Message::Error(description) => {
                    return Err(QmpError::Refused { command: command.to_owned(), description });
                }
                Message::Event(event) => self.push_event(event),
                Message::Greeting => return Err(QmpError::Invalid("a second greeting".into())),
            }
        }
    }

    /// Receives events that have arrived, or arrive within 10 ms.
    pub(crate) fn receive(&mut self) -> Result<(), QmpError> {
        let read = self.read_some("an event", Instant::now() + Duration::from_millis(10));
        while let Some(line) = self.lines.next()? {
            match Message::parse(&line)? {
                Message::Event(event) => self.push_event(event),
                other => return Err(QmpError::Invalid(format!("{other:?} without a command"))),
            }
        }
        match read {
            Err(QmpError::Timeout(_)) => Ok(()),
            read => read,
        }
    }

    /// Removes and returns the oldest event.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn push_event(&mut self, event: Event) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn next_message(&mut self, waiting_for: &str, deadline: Instant) -> Result<Message, QmpError> {
        loop {
            if let Some(line) = self.lines.next()? {
                return Message::parse(&line);
            }
            self.read_some(waiting_for, deadline)?;
        }
    }

    fn read_some(&mut self, waiting_for: &str, deadline: Instant) -> Result<(), QmpError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(QmpError::Timeout(waiting_for.to_owned()));
        }
        self.stream.set_read_timeout(Some(left)).map_err(|error| QmpError::Socket(error.to_string()))?;
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(QmpError::Closed),
            Ok(count) => {
                self.lines.push(&buffer[..count]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => Ok(()),
                ErrorKind::WouldBlock => Err(QmpError::Timeout(waiting_for.to_owned())),
                ErrorKind::ConnectionReset => Err(QmpError::Closed),
                _ => Err(QmpError::Socket(error.to_string())),
            },
        }
    }
}

impl AsFd for Qmp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    /// Connection to a QEMU that has sent `text` and then shut its side down.
    fn opened_with(text: &[u8]) -> Result<Qmp, QmpError> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let text = text.to_vec();
        let writer = std::thread::spawn(move || {
            let _ = theirs.write_all(&text);
            let _ = theirs.shutdown(std::net::Shutdown::Write);
            while let Ok(1..) = theirs.read(&mut [0; 4096]) {}
        });
        let result = Qmp::open(ours, soon());
        drop(writer);
        result
    }

    const HELLO: &[u8] = b"{\"QMP\": {\"version\": {}}}\r\n{\"return\": {}}\r\n";

    #[test]
    fn a_greeting_and_an_empty_return_open_the_connection() {
        assert!(opened_with(HELLO).is_ok());
    }

    #[test]
    fn an_invalid_greeting_is_an_error() {
        let deep = [b"[".repeat(100_000), b"\n".to_vec()].concat();
        let endless = b"x".repeat(LINE_BYTES_MAX + 8192);
        for text in [
            &b"hello\n"[..],
            b"[]\n",
            b"null\n",
            b"{}\n",
            b"\xff\xfe\n",
            b"{\"event\": 5}\n",
            &deep,
            &endless,
        ] {
            assert!(matches!(opened_with(text), Err(QmpError::Invalid(_))), "{text:.20?}");
        }
        assert_eq!(opened_with(b"{\"QMP\": {}}").unwrap_err(), QmpError::Closed);
        assert_eq!(opened_with(b"").unwrap_err(), QmpError::Closed);
    }

    #[test]
    fn a_silent_qemu_is_a_timeout() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        assert_eq!(Qmp::open(ours, deadline).unwrap_err(), QmpError::Timeout("greeting".into()));
    }

    #[test]
    fn events_between_command_and_return_are_kept_in_order() {
        let mut text = HELLO.to_vec();
        text.extend(b"{\"event\": \"STOP\"}\n{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true}}\n");
        text.extend(b"{\"return\": 7}\n{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\n");
        let mut qmp = opened_with(&text).unwrap();
        assert_eq!(qmp.execute("query", soon()).unwrap(), 7);
        assert_eq!(qmp.next_event().unwrap().name, "STOP");
        assert_eq!(qmp.next_event().unwrap().data["guest"], true);
        assert_eq!(qmp.next_event(), None);
        let refused = QmpError::Refused { command: "quit".into(), description: "no".into() };
        assert_eq!(qmp.execute("quit", soon()), Err(refused));
    }

    #[test]
    fn events_before_the_end_are_received_before_the_end() {
        let mut text = HELLO.to_vec();
        text.extend(b"{\"return\": {}}\n{\"event\": \"SHUTDOWN\"}\n");
        let mut qmp = opened_with(&text).unwrap();
        qmp.execute("cont", soon()).unwrap();
        while qmp.receive() != Err(QmpError::Closed) {}
        assert_eq!(qmp.next_event().unwrap().name, "SHUTDOWN");
    }

    #[test]
    fn only_the_latest_of_many_events_are_kept() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(HELLO).unwrap();
        let mut qmp = Qmp::open(ours, soon()).unwrap();
        for number in 0..EVENTS_MAX + 10 {
            writeln!(theirs, "{{\"event\": \"{number}\"}}").unwrap();
            qmp.receive().unwrap();
        }
        assert_eq!(qmp.next_event().unwrap().name, "10");
    }

    #[test]
    fn a_line_may_arrive_byte_by_byte() {
        let mut lines = LineBuffer::default();
        for byte in b"\r\n\n{\"a\": 1}\r" {
            lines.push(&[*byte]);
            assert_eq!(lines.next(), Ok(None));
        }
        lines.push(b"\nrest");
        assert_eq!(lines.next(), Ok(Some(b"{\"a\": 1}".to_vec())));
        assert_eq!(lines.next(), Ok(None));
    }
}

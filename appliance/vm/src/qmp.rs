//! The QEMU Machine Protocol, client side: one JSON object per line.
//!
//! Invariants
//! - What QEMU sends is foreign input: a line is at most [`LINE_MAX`] bytes, and anything
//!   that is not a message of the protocol ends the conversation with a reason.
//! - Nothing waits longer than its deadline.
//!
//! Not here: which commands are sent when (`supervisor`).

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The longest line that is accepted. The longest one we ask for has some hundred bytes.
const LINE_MAX: usize = 256 * 1024;
/// The most events that are kept while nobody takes them; the oldest go first.
const EVENTS_MAX: usize = 256;

/// Why a conversation ended, or a command failed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub(crate) enum QmpError {
    #[error("QEMU closed its control socket")]
    Closed,
    #[error("QEMU did not answer '{0}' in time")]
    Late(String),
    #[error("QEMU refused '{command}': {description}")]
    Refused { command: String, description: String },
    #[error("QEMU's control socket sent something that is not QMP: {0}")]
    Garbage(String),
    #[error("QEMU's control socket failed: {0}")]
    Failed(String),
}

/// One message from QEMU.
#[derive(Clone, PartialEq, Debug)]
enum Message {
    Greeting,
    Return(Value),
    Error(String),
    Event(Event),
}

/// Something that happened to the VM.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Event {
    /// Its name, such as `SHUTDOWN`.
    pub(crate) name: String,
    /// What belongs to it; null where nothing does.
    pub(crate) data: Value,
}

impl Message {
    fn parse(line: &[u8]) -> Result<Self, QmpError> {
        let garbage = || QmpError::Garbage(String::from_utf8_lossy(line).chars().take(120).collect());
        let mut value: Value = serde_json::from_slice(line).map_err(|_| garbage())?;
        let object = value.as_object_mut().ok_or_else(garbage)?;
        if object.contains_key("QMP") {
            return Ok(Self::Greeting);
        }
        if let Some(result) = object.remove("return") {
            return Ok(Self::Return(result));
        }
        if let Some(error) = object.get("error") {
            let text = error.get("desc").and_then(Value::as_str).ok_or_else(garbage)?;
            return Ok(Self::Error(text.chars().take(500).collect()));
        }
        let name = object.get("event").and_then(Value::as_str).ok_or_else(garbage)?.to_owned();
        Ok(Self::Event(Event { name, data: object.remove("data").unwrap_or(Value::Null) }))
    }
}

/// Bytes in, lines out.
#[derive(Default, Debug)]
struct Lines {
    bytes: VecDeque<u8>,
    /// Bytes at the front that are known to have no end of line.
    searched: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// The next whole line without its end; empty lines are passed over.
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
        if self.searched > LINE_MAX {
            Err(QmpError::Garbage("a line without an end".into()))
        } else {
            Ok(None)
        }
    }
}

/// A conversation with one QEMU.
#[derive(Debug)]
pub(crate) struct Qmp {
    stream: UnixStream,
    lines: Lines,
    events: VecDeque<Event>,
}

impl Qmp {
    /// Takes the greeting and leaves the negotiation mode.
    pub(crate) fn greet(stream: UnixStream, deadline: Instant) -> Result<Self, QmpError> {
        let mut qmp = Self { stream, lines: Lines::default(), events: VecDeque::new() };
        match qmp.next_message("greeting", deadline)? {
            Message::Greeting => {}
            other => return Err(QmpError::Garbage(format!("{other:?} instead of a greeting"))),
        }
        qmp.execute("qmp_capabilities", deadline)?;
        Ok(qmp)
    }

    /// Sends a command without arguments and waits for its result.
    pub(crate) fn execute(&mut self, command: &str, deadline: Instant) -> Result<Value, QmpError> {
        let failed = |error: std::io::Error| QmpError::Failed(error.to_string());
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_write_timeout(Some(left)).map_err(failed)?;
        let line = format!("{}\n", json!({ "execute": command }));
        self.stream.write_all(line.as_bytes()).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => QmpError::Closed,
            ErrorKind::WouldBlock => QmpError::Late(command.to_owned()),
            _ => failed(error),
        })?;
        loop {
            match self.next_message(command, deadline)? {
                Message::Return(value) => return Ok(value),
                Message::Error(description) => {
                    return Err(QmpError::Refused { command: command.to_owned(), description });
                }
                Message::Event(event) => self.keep(event),
                Message::Greeting => return Err(QmpError::Garbage("a second greeting".into())),
            }
        }
    }

    /// Takes in what has arrived, without waiting for more.
    pub(crate) fn receive(&mut self) -> Result<(), QmpError> {
        let read = self.read_some("an event", Instant::now() + Duration::from_millis(10));
        while let Some(line) = self.lines.next()? {
            match Message::parse(&line)? {
                Message::Event(event) => self.keep(event),
                other => return Err(QmpError::Garbage(format!("{other:?} that nobody asked for"))),
            }
        }
        match read {
            Err(QmpError::Late(_)) => Ok(()),
            read => read,
        }
    }

    /// The oldest event that was not yet taken.
    pub(crate) fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn keep(&mut self, event: Event) {
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
            return Err(QmpError::Late(waiting_for.to_owned()));
        }
        self.stream.set_read_timeout(Some(left)).map_err(|error| QmpError::Failed(error.to_string()))?;
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(QmpError::Closed),
            Ok(count) => {
                self.lines.push(&buffer[..count]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => Ok(()),
                ErrorKind::WouldBlock => Err(QmpError::Late(waiting_for.to_owned())),
                ErrorKind::ConnectionReset => Err(QmpError::Closed),
                _ => Err(QmpError::Failed(error.to_string())),
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

    /// What `greet` says to a QEMU that has said all of `text` and then hung up.
    fn greeted_with(text: &[u8]) -> Result<Qmp, QmpError> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let text = text.to_vec();
        let writer = std::thread::spawn(move || {
            let _ = theirs.write_all(&text);
            let _ = theirs.shutdown(std::net::Shutdown::Write);
            while let Ok(1..) = theirs.read(&mut [0; 4096]) {}
        });
        let result = Qmp::greet(ours, soon());
        drop(writer);
        result
    }

    const HELLO: &[u8] = b"{\"QMP\": {\"version\": {}}}\r\n{\"return\": {}}\r\n";

    #[test]
    fn a_greeting_and_an_empty_return_open_the_conversation() {
        assert!(greeted_with(HELLO).is_ok());
    }

    #[test]
    fn hostile_greetings_end_the_conversation_with_a_reason() {
        let deep = [b"[".repeat(100_000), b"\n".to_vec()].concat();
        let endless = b"x".repeat(LINE_MAX + 8192);
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
            assert!(matches!(greeted_with(text), Err(QmpError::Garbage(_))), "{text:.20?}");
        }
        assert_eq!(greeted_with(b"{\"QMP\": {}}").unwrap_err(), QmpError::Closed);
        assert_eq!(greeted_with(b"").unwrap_err(), QmpError::Closed);
    }

    #[test]
    fn a_silent_qemu_is_late() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        assert_eq!(Qmp::greet(ours, deadline).unwrap_err(), QmpError::Late("greeting".into()));
    }

    #[test]
    fn events_between_command_and_return_are_kept_in_order() {
        let mut text = HELLO.to_vec();
        text.extend(b"{\"event\": \"STOP\"}\n{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true}}\n");
        text.extend(b"{\"return\": 7}\n{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\n");
        let mut qmp = greeted_with(&text).unwrap();
        assert_eq!(qmp.execute("query", soon()).unwrap(), 7);
        assert_eq!(qmp.take_event().unwrap().name, "STOP");
        assert_eq!(qmp.take_event().unwrap().data["guest"], true);
        assert_eq!(qmp.take_event(), None);
        let refused = QmpError::Refused { command: "quit".into(), description: "no".into() };
        assert_eq!(qmp.execute("quit", soon()), Err(refused));
    }

    #[test]
    fn what_came_before_the_end_is_heard_before_the_end() {
        let mut text = HELLO.to_vec();
        text.extend(b"{\"return\": {}}\n{\"event\": \"SHUTDOWN\"}\n");
        let mut qmp = greeted_with(&text).unwrap();
        qmp.execute("cont", soon()).unwrap();
        while qmp.receive() != Err(QmpError::Closed) {}
        assert_eq!(qmp.take_event().unwrap().name, "SHUTDOWN");
    }

    #[test]
    fn a_flood_of_events_keeps_only_the_latest() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(HELLO).unwrap();
        let mut qmp = Qmp::greet(ours, soon()).unwrap();
        for number in 0..EVENTS_MAX + 10 {
            writeln!(theirs, "{{\"event\": \"{number}\"}}").unwrap();
            qmp.receive().unwrap();
        }
        assert_eq!(qmp.take_event().unwrap().name, "10");
    }

    #[test]
    fn a_line_may_arrive_byte_by_byte() {
        let mut lines = Lines::default();
        for byte in b"\r\n\n{\"a\": 1}\r" {
            lines.push(&[*byte]);
            assert_eq!(lines.next(), Ok(None));
        }
        lines.push(b"\nrest");
        assert_eq!(lines.next(), Ok(Some(b"{\"a\": 1}".to_vec())));
        assert_eq!(lines.next(), Ok(None));
    }
}

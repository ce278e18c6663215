//! QEMU's machine protocol (QMP): commands, answers and events.

use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Time limit for the answer to a command.
const ANSWER_SECONDS: u32 = 60;

/// A socket to which QEMU connects.
pub(crate) struct QmpListener {
    listener: UnixListener,
}

impl QmpListener {
    /// Listens at `path`. QEMU connects to it, so that nobody has to retry.
    pub(crate) fn at(path: &Path) -> Result<Self, TestError> {
        let listener = UnixListener::bind(path).doing(|| format!("listening at {}", path.display()))?;
        Ok(Self { listener })
    }

    /// Waits for QEMU's connection and negotiates. None if `process` ends before.
    pub(crate) fn accept(
        self,
        process: &crate::Process,
        deadline: Deadline,
    ) -> Result<Option<Qmp>, TestError> {
        let mut awaited =
            [PollFd::new(&self.listener, PollFlags::IN), PollFd::new(process.handle(), PollFlags::IN)];
        let left = Timespec::try_from(deadline.left()).ok();
        let woken = rustix::io::retry_on_intr(|| poll(&mut awaited, left.as_ref()));
        woken.doing(|| "waiting for QEMU's connection".to_owned())?;
        if awaited[0].revents().is_empty() {
            return Ok(None);
        }
        let (stream, _) = self.listener.accept().doing(|| "accepting QEMU's connection".to_owned())?;
        Qmp::over(stream).map(Some)
    }
}

/// A connection to one QEMU.
pub struct Qmp {
    stream: BufReader<UnixStream>,
    events: VecDeque<Value>,
}

impl Qmp {
    fn over(stream: UnixStream) -> Result<Self, TestError> {
        let mut qmp = Self { stream: BufReader::new(stream), events: VecDeque::new() };
        qmp.read(Deadline::within(ANSWER_SECONDS))?;
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Executes a command and returns its result.
    ///
    /// # Errors
    /// If QEMU refuses the command or has ended.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, TestError> {
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.stream.get_mut().write_all(line.as_bytes()).doing(|| format!("sending {command}"))?;
        let deadline = Deadline::within(ANSWER_SECONDS);
        loop {
            let mut message = self.read(deadline)?;
            if let Some(value) = message.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = message.get_mut("error") {
                return Err(TestError::Refused { command: command.to_owned(), answer: error.take() });
            }
            self.events.push_back(message);
        }
    }

    /// Waits for the event `name` and returns its data; other events are dropped.
    ///
    /// # Errors
    /// If the event does not arrive in time, or QEMU has ended.
    pub fn wait_event(&mut self, name: &str, deadline: Deadline) -> Result<Value, TestError> {
        loop {
            let mut event = match self.events.pop_front() {
                Some(event) => event,
                None => self.read(deadline)?,
            };
            if event["event"] == name {
                return Ok(event["data"].take());
            }
        }
    }

    /// Presses the power button.
    ///
    /// # Errors
    /// If QEMU has ended.
    pub fn power_button(&mut self) -> Result<(), TestError> {
        self.execute("system_powerdown", json!({})).map(drop)
    }

    /// Presses the reset button.
    ///
    /// # Errors
    /// If QEMU has ended.
    pub fn reset(&mut self) -> Result<(), TestError> {
        self.execute("system_reset", json!({})).map(drop)
    }

    fn read(&mut self, deadline: Deadline) -> Result<Value, TestError> {
        let timeout = deadline.left().max(std::time::Duration::from_millis(1));
        self.stream.get_ref().set_read_timeout(Some(timeout)).doing(|| "reading from QEMU".to_owned())?;
        let mut line = String::new();
        let length = self.stream.read_line(&mut line).doing(|| "reading from QEMU".to_owned())?;
        match serde_json::from_str(&line) {
            Ok(message) if length > 0 => Ok(message),
            _ => Err(TestError::Confused { who: "QEMU".to_owned(), said: line }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connection to a QEMU that sends the first of `lines` at once, and one more for each line it reads.
    fn conversation(lines: &'static [&'static str]) -> Result<Qmp, TestError> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            let mut heard = BufReader::new(theirs.try_clone().unwrap()).lines();
            let mut theirs = theirs;
            for line in lines {
                writeln!(theirs, "{line}").unwrap();
                heard.next();
            }
        });
        Qmp::over(ours)
    }

    const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": []}}"#;

    #[test]
    fn an_event_that_comes_before_an_answer_is_kept() {
        let answers = "{\"event\": \"STOP\", \"data\": {\"x\": 1}}\n{\"return\": {\"y\": 2}}";
        let lines = Box::leak(Box::new([GREETING, r#"{"return": {}}"#, answers]));
        let mut qmp = conversation(lines).unwrap();
        assert_eq!(qmp.execute("query-y", json!({})).unwrap(), json!({ "y": 2 }));
        assert_eq!(qmp.wait_event("STOP", Deadline::within(60)).unwrap(), json!({ "x": 1 }));
    }

    #[test]
    fn a_refusal_names_the_command_and_the_reason() {
        let refusal = r#"{"error": {"class": "GenericError", "desc": "no such thing"}}"#;
        let lines = Box::leak(Box::new([GREETING, r#"{"return": {}}"#, refusal]));
        let error = conversation(lines).unwrap().execute("device_del", json!({})).unwrap_err().to_string();
        assert!(error.contains("device_del") && error.contains("no such thing"), "{error}");
    }

    #[test]
    fn a_qemu_that_has_ended_is_an_error() {
        let lines = Box::leak(Box::new([GREETING, r#"{"return": {}}"#]));
        assert!(conversation(lines).unwrap().execute("quit", json!({})).is_err());
    }
}

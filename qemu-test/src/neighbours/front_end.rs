//! A small vhost-user front end, which says whatever it is told to say.

use super::memory::Memory;
use super::ring::Ring;
use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Time limit of an answer.
const ANSWER_SECONDS: u32 = 60;

/// Message types.
mod code {
    pub(super) const GET_FEATURES: u32 = 1;
    pub(super) const SET_FEATURES: u32 = 2;
    pub(super) const SET_OWNER: u32 = 3;
    pub(super) const SET_MEM_TABLE: u32 = 5;
    pub(super) const SET_VRING_NUM: u32 = 8;
    pub(super) const SET_VRING_ADDR: u32 = 9;
    pub(super) const SET_VRING_BASE: u32 = 10;
    pub(super) const SET_VRING_KICK: u32 = 12;
    pub(super) const SET_VRING_CALL: u32 = 13;
    pub(super) const GET_PROTOCOL_FEATURES: u32 = 15;
    pub(super) const SET_PROTOCOL_FEATURES: u32 = 16;
    pub(super) const SET_VRING_ENABLE: u32 = 18;
}

/// Version of the protocol, and the request for an acknowledgement.
const VERSION: u32 = 1;
const NEED_REPLY: u32 = 8;

/// FLUSH, DISCARD, MQ; RING_INDIRECT, VHOST_PROTOCOL_FEATURES, VERSION_1.
const FEATURES: u64 = 1 << 9 | 1 << 12 | 1 << 13 | 1 << 28 | 1 << 30 | 1 << 32;
/// MQ, REPLY_ACK.
const PROTOCOL_FEATURES: u64 = 1 << 0 | 1 << 3;

/// A connection to a disk, with the memory that it shares.
pub(crate) struct FrontEnd {
    stream: UnixStream,
    pub(crate) memory: Memory,
    kick: OwnedFd,
    call: OwnedFd,
}

impl FrontEnd {
    /// Connects and shares `memory`.
    pub(crate) fn connect(socket: &Path, memory: Memory) -> Result<Self, TestError> {
        let connecting = || format!("connecting to {}", socket.display());
        let stream = UnixStream::connect(socket).doing(connecting)?;
        stream.set_read_timeout(Some(Deadline::within(ANSWER_SECONDS).left())).doing(connecting)?;
        let event = || eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).doing(connecting);
        let this = Self { stream, memory, kick: event()?, call: event()? };
        this.ask(code::GET_FEATURES)?;
        this.ask(code::GET_PROTOCOL_FEATURES)?;
        this.say(code::SET_PROTOCOL_FEATURES, &PROTOCOL_FEATURES.to_ne_bytes(), None)?;
        this.say(code::SET_OWNER, &[], None)?;
        this.say(code::SET_FEATURES, &FEATURES.to_ne_bytes(), None)?;
        this.share()?;
        Ok(this)
    }

    /// Shares the memory as one region.
    pub(crate) fn share(&self) -> Result<(), TestError> {
        let table = [1, 0, self.memory.len(), 0, 0].map(u64::to_ne_bytes).concat();
        self.say_and_wait(code::SET_MEM_TABLE, &table, Some(self.memory.file()))
    }

    /// Starts a ring as queue `index`.
    pub(crate) fn start(&self, index: u16, ring: &Ring) -> Result<(), TestError> {
        let index = u32::from(index);
        let state = |value: u32| [index, value].map(u32::to_ne_bytes).concat();
        self.say(code::SET_VRING_NUM, &state(ring.size.into()), None)?;
        self.say(code::SET_VRING_BASE, &state(0), None)?;
        let addresses = [ring.at, ring.used(), ring.available(), 0].map(u64::to_ne_bytes).concat();
        self.say(code::SET_VRING_ADDR, &[state(0), addresses].concat(), None)?;
        for (code, event) in [(code::SET_VRING_CALL, &self.call), (code::SET_VRING_KICK, &self.kick)] {
            self.say(code, &u64::from(index).to_ne_bytes(), Some(event.as_fd()))?;
        }
        self.say_and_wait(code::SET_VRING_ENABLE, &state(1), None)
    }

    /// Stops queue `index` or lets it run again.
    pub(crate) fn enable(&self, index: u16, enabled: u32) -> Result<(), TestError> {
        let state = [u32::from(index), enabled].map(u32::to_ne_bytes).concat();
        self.say_and_wait(code::SET_VRING_ENABLE, &state, None)
    }

    /// Kicks all rings, which share their eventfd.
    pub(crate) fn kick(&self) {
        // It fails only when the counter is full: the server has a kick waiting.
        let _ = rustix::io::write(&self.kick, &1_u64.to_ne_bytes());
    }

    /// Fails if the server has closed the connection.
    pub(crate) fn check(&self) -> Result<(), TestError> {
        if self.is_closed_within(0) { Err(cut_off()) } else { Ok(()) }
    }

    /// Whether the server closes the connection within that time.
    pub(crate) fn is_closed_within(&self, ms: i64) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        let limit = Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
        matches!(poll(&mut fds, Some(&limit)), Ok(1..))
    }

    fn say(&self, code: u32, payload: &[u8], file: Option<BorrowedFd<'_>>) -> Result<(), TestError> {
        self.send(code, VERSION, payload, file)
    }

    /// Says something and waits until it was done.
    fn say_and_wait(&self, code: u32, payload: &[u8], file: Option<BorrowedFd<'_>>) -> Result<(), TestError> {
        self.send(code, VERSION | NEED_REPLY, payload, file)?;
        if self.receive()?.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(cut_off()) }
    }

    fn ask(&self, code: u32) -> Result<(), TestError> {
        self.send(code, VERSION, &[], None)?;
        self.receive().map(drop)
    }

    fn send(
        &self,
        code: u32,
        flags: u32,
        payload: &[u8],
        file: Option<BorrowedFd<'_>>,
    ) -> Result<(), TestError> {
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let message = [[code, flags, len].map(u32::to_ne_bytes).concat(), payload.to_vec()].concat();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files: Vec<BorrowedFd<'_>> = file.into_iter().collect();
        if !files.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&files));
        }
        let sent = sendmsg(&self.stream, &[IoSlice::new(&message)], &mut control, SendFlags::NOSIGNAL);
        sent.map(drop).doing(|| format!("sending message {code}"))
    }

    /// Payload of the next answer.
    fn receive(&self) -> Result<Vec<u8>, TestError> {
        let reading = || "reading an answer".to_owned();
        let mut header = [0; 12];
        (&self.stream).read_exact(&mut header).doing(reading)?;
        let [.., a, b, c, d] = header;
        let mut payload = vec![0; usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(0)];
        (&self.stream).read_exact(&mut payload).doing(reading)?;
        Ok(payload)
    }
}

/// Error of a front end that the server no longer serves.
pub(crate) fn cut_off() -> TestError {
    TestError::Host("the server has cut the front end off".to_owned())
}

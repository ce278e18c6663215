//! The connections of an endpoint: which one is served, and which wait.
//!
//! ```text
//!               1               3
//!   connects -----> served ----------> gone
//!      |              ^                 ^
//!      |   2          | 4               |
//!      +------> waiting ----------------+
//!                               5
//! ```
//! 1. no other connection is served;
//! 2. another connection is served: a disk has one guest;
//! 3. it left, broke the protocol, or said nothing and lost its place;
//! 4. the place is free, and the pause after front ends that were cut off for cause is over (`backoff`);
//! 5. it hung up, or waited in silence while too many others came.
//!
//! Invariants
//! - One connection is served at a time, by a thread of its own.
//! - A connection that has not sent a whole message keeps nobody out: [`SILENCE`] after it came, the
//!   first of the others that speaks takes its place. One that has spoken keeps its place: a running
//!   guest gives its front end nothing to say for days.
//!
//! Not here: the protocol (`connection`).

use crate::connection::{End, Incoming, serve};
use crate::quit::Quit;
use crate::served::Served;
use crate::state::HandedOver;
use luge_core::{Promise, TooFewDescriptors};
use luge_socket::Socket;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::ioctl_fionread;
use rustix::net::{Shutdown, shutdown};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time that a front end has for its first message, while others wait.
const SILENCE: Duration = Duration::from_secs(1);

/// Time that a message may still take when its connection is to be handed over.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// The most connections that wait.
const WAITING_MAX: usize = 16;

/// Pause when the kernel cannot accept: it is out of memory or file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// End of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All front ends are cut off.
    CutOff,
    /// The front end that is served is left to another process; others are cut off.
    HandOver,
}

/// Signals to an acceptor, from its endpoint and from the connection it serves.
pub(crate) struct Signals {
    ending: OnceLock<Ending>,
    wake: OwnedFd,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { ending: OnceLock::new(), wake })
    }

    /// Ends the acceptor, and with it the connections. The first call counts.
    pub(crate) fn close(&self, ending: Ending) {
        let _ = self.ending.set(ending);
        self.wake();
    }

    fn is_closed(&self) -> bool {
        self.ending.get().is_some()
    }

    /// Wakes the acceptor.
    fn wake(&self) {
        // It fails only after 2^64 signals that nobody has read.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// The connection that is served.
struct Current {
    stream: UnixStream,
    since: Instant,
    is_reported: bool,
    fate: Arc<Fate>,
    quit: Arc<Quit>,
    thread: JoinHandle<Option<HandedOver>>,
}

/// A connection that waits.
struct Waiting {
    stream: UnixStream,
    /// Promise of the connection's file descriptor; the endpoint's own serves for the first.
    _descriptor: Option<Promise>,
}

/// Facts that a connection's thread and the acceptor tell each other.
#[derive(Default)]
struct Fate {
    /// The acceptor has cut the connection off.
    cut_off: AtomicBool,
    /// The thread is at its end.
    ended: AtomicBool,
}

/// Accepts the connections of an endpoint, until it is closed.
pub(crate) struct Acceptor {
    served: Arc<Served>,
    socket: Arc<Socket>,
    signals: Arc<Signals>,
    current: Option<Current>,
    waiting: VecDeque<Waiting>,
}

impl Acceptor {
    pub(crate) fn new(served: Arc<Served>, socket: Arc<Socket>, signals: Arc<Signals>) -> io::Result<Self> {
        socket.listener().set_nonblocking(true)?;
        Ok(Self { served, socket, signals, current: None, waiting: VecDeque::new() })
    }

    /// Serves a connection of another process, before [`Self::run`].
    ///
    /// # Errors
    /// No thread can be made, or no more files can be open.
    pub(crate) fn resume(&mut self, connection: HandedOver) -> io::Result<()> {
        self.current = Some(self.start(Incoming::Resumed(connection))?);
        Ok(())
    }

    /// Accepts and serves until the endpoint is closed, and waits until all requests that were taken have been
    /// answered. The connection that is served is cut off then, in the middle of a message if need be, or
    /// handed over between two messages.
    pub(crate) fn run(mut self) -> Option<HandedOver> {
        while !self.signals.is_closed() {
            let newcomer = self.wait();
            self.drop_the_ended();
            if newcomer {
                self.accept();
            }
            self.check_silence();
            self.serve_next();
        }
        self.waiting.clear();
        let hands_over = self.signals.ending.get() == Some(&Ending::HandOver);
        let is_heard = |current: &Current| hands_over && current.quit.ask(MESSAGE_TIMEOUT);
        if !self.current.as_ref().is_some_and(is_heard) {
            self.cut_off();
        }
        self.join()
    }

    /// Waits until there is something to do; returns whether somebody connects.
    fn wait(&self) -> bool {
        let speech = if self.is_replaceable() { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = vec![
            PollFd::new(&self.signals.wake, PollFlags::IN),
            PollFd::new(self.socket.listener(), PollFlags::IN),
        ];
        fds.extend(self.waiting.iter().map(|other| PollFd::new(&other.stream, PollFlags::RDHUP | speech)));
        let left = self.silence_left().or_else(|| self.pause_left());
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        // Interrupted or out of memory: another turn, no worse than one too many.
        let _ = poll(&mut fds, timeout.as_ref());
        let newcomer = fds.get(1).is_some_and(|listener| !listener.revents().is_empty());
        let _ = rustix::io::read(&self.signals.wake, &mut [0; 8]);
        newcomer
    }

    /// Time until the silence of the connection that is served is reported.
    fn silence_left(&self) -> Option<Duration> {
        let silent = self.current.as_ref().filter(|current| !current.is_reported);
        let silent = silent.filter(|_| !self.served.ledger.has_spoken())?;
        Some(SILENCE.saturating_sub(silent.since.elapsed()))
    }

    /// Time until the first of the waiting is served, if there is one that nobody but the back-off keeps out.
    fn pause_left(&self) -> Option<Duration> {
        let is_next = self.current.is_none() && !self.waiting.is_empty();
        is_next.then(|| self.served.ledger.pause_left())
    }

    /// Whether another connection may take the place of the one that is served.
    fn is_replaceable(&self) -> bool {
        let may_go = |current: &&Current| current.is_reported && !current.fate.cut_off.load(Relaxed);
        let current = self.current.as_ref().filter(may_go);
        current.is_some() && !self.served.ledger.has_spoken()
    }

    fn drop_the_ended(&mut self) {
        if self.current.as_ref().is_some_and(|current| current.fate.ended.load(Acquire)) {
            // Nothing is handed over unless the acceptor asks for it.
            drop(self.join());
        }
        self.waiting.retain(|other| !has_hung_up(&other.stream));
        self.served.ledger.set_waiting(self.waiting.len());
    }

    fn accept(&mut self) {
        let Served { name, log, ledger, .. } = &*self.served;
        match self.socket.listener().accept() {
            Ok((stream, _)) => {
                if let Some(reason) = self.reason_to_wait() {
                    ledger.waited();
                    log.waits.line(|| {
                        tracing::warn!("{name}: another front end has connected, and waits {reason}");
                    });
                }
                self.queue(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) if self.signals.is_closed() => {}
            Err(error) => {
                log.deaf.line(|| tracing::warn!("{name}: cannot accept a front end: {error}"));
                std::thread::sleep(ACCEPT_AGAIN);
            }
        }
    }

    /// Reason why a front end that has connected is not served at once, in words.
    fn reason_to_wait(&self) -> Option<String> {
        if self.current.is_some() {
            return Some("for the first to leave".into());
        }
        let pause = self.served.ledger.pause_left();
        let reason = || format!("{} ms, because others were cut off before it", pause.as_millis());
        (pause > Duration::ZERO).then(reason)
    }

    /// Adds a connection to those that wait. Where too many wait, or no file descriptor is left for another,
    /// it takes the place of one that has said nothing, or else is dropped.
    fn queue(&mut self, stream: UnixStream) {
        let promised = self.promise_descriptor();
        if self.waiting.len() >= WAITING_MAX || promised.is_err() {
            let silent = self.waiting.iter().position(|other| !has_spoken(&other.stream));
            let Some(silent) = silent else { return };
            drop(self.waiting.remove(silent));
        }
        let Ok(descriptor) = promised.or_else(|_| self.promise_descriptor()) else { return };
        self.waiting.push_back(Waiting { stream, _descriptor: descriptor });
        self.served.ledger.set_waiting(self.waiting.len());
    }

    fn promise_descriptor(&self) -> Result<Option<Promise>, TooFewDescriptors> {
        let is_first = self.waiting.is_empty();
        (!is_first).then(|| self.served.descriptors.promise(1)).transpose()
    }

    fn check_silence(&mut self) {
        if self.silence_left() == Some(Duration::ZERO)
            && let Some(current) = &mut self.current
        {
            current.is_reported = true;
            let Served { name, log, ledger, .. } = &*self.served;
            ledger.silent();
            log.silent.line(|| {
                tracing::warn!("{name}: the front end has sent no message: one that does takes its place");
            });
        }
        if self.is_replaceable() && self.waiting.iter().any(|other| has_spoken(&other.stream)) {
            self.cut_off();
        }
    }

    fn cut_off(&mut self) {
        if let Some(current) = &self.current {
            current.fate.cut_off.store(true, Relaxed);
            // It fails only if the front end has gone already.
            let _ = shutdown(&current.stream, Shutdown::Both);
        }
    }

    fn join(&mut self) -> Option<HandedOver> {
        // A thread that panicked has no sessions left, or the process would be gone.
        self.current.take()?.thread.join().ok().flatten()
    }

    /// Serves the first of the waiting that has spoken, or else the first.
    fn serve_next(&mut self) {
        if self.current.is_some() || self.signals.is_closed() || self.pause_left() > Some(Duration::ZERO) {
            return;
        }
        let next = self.waiting.iter().position(|other| has_spoken(&other.stream)).unwrap_or(0);
        let Some(Waiting { stream, .. }) = self.waiting.remove(next) else { return };
        self.served.ledger.set_waiting(self.waiting.len());
        match self.start(Incoming::New(stream)) {
            Ok(current) => self.current = Some(current),
            Err(error) => {
                let Served { name, log, .. } = &*self.served;
                log.deaf.line(|| tracing::warn!("{name}: cannot serve a front end: {error}"));
            }
        }
    }

    /// Starts the thread that serves a connection.
    fn start(&self, incoming: Incoming) -> io::Result<Current> {
        let (ours, fate) = (incoming.socket().try_clone()?, Arc::<Fate>::default());
        let quit = Arc::new(Quit::new()?);
        let (served, signals, its_fate) = (self.served.clone(), self.signals.clone(), fate.clone());
        let its_quit = quit.clone();
        let thread = std::thread::Builder::new().name(format!("vhost-{}", served.name));
        self.served.ledger.connected();
        let thread = thread.spawn(move || {
            let is_cut_off = || signals.is_closed() || its_fate.cut_off.load(Relaxed);
            let handed_over = serve_to_the_end(incoming, &served, &its_quit, &is_cut_off);
            its_fate.ended.store(true, Release);
            signals.wake();
            handed_over
        });
        let thread = thread.inspect_err(|_| self.served.ledger.disconnected())?;
        let since = Instant::now();
        Ok(Current { stream: ours, since, is_reported: false, fate, quit, thread })
    }
}

/// Serves one front end to its end, or until another process is to serve it on. `is_cut_off` says whether the
/// end is ours: then it is no fault.
fn serve_to_the_end(
    incoming: Incoming,
    served: &Arc<Served>,
    quit: &Quit,
    is_cut_off: &dyn Fn() -> bool,
) -> Option<HandedOver> {
    let Served { name, log, ledger, .. } = &**served;
    log.came.line(|| tracing::info!("{name}: a front end has connected"));
    let end = serve(incoming, served, quit);
    quit.hear();
    let mut handed_over = None;
    match end {
        End::HandedOver(connection) => handed_over = Some(connection),
        End::Left => {
            ledger.left_after_stalls();
            log.left.line(|| tracing::info!("{name}: the front end has left"));
        }
        End::Fault(_) if is_cut_off() => {}
        End::Fault(error) => {
            let pause_ms = ledger.protocol_error().as_millis();
            log.fault.line(|| {
                tracing::warn!(
                    "{name}: the front end was cut off: {error}; the next is served after {pause_ms} ms"
                );
            });
        }
    }
    ledger.disconnected();
    handed_over
}

/// Whether a connection that waits has sent anything.
fn has_spoken(stream: &UnixStream) -> bool {
    ioctl_fionread(stream).is_ok_and(|bytes| bytes > 0)
}

/// Whether the other end of a connection that waits is closed.
fn has_hung_up(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

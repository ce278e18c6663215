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
//! 4. the place is free, and the last one has harmed nobody, or that was long enough ago (`penalty`);
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
use crate::penalty::Penalty;
use crate::quit::Quit;
use crate::served::Served;
use crate::state::HandedOver;
use luge_socket::Socket;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::ioctl_fionread;
use rustix::net::{Shutdown, shutdown};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
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
    is_cut_off: bool,
    outcome: Arc<Outcome>,
    quit: Arc<Quit>,
    thread: JoinHandle<Option<HandedOver>>,
}

/// Outcome of the connection that is served.
#[derive(Default)]
struct Outcome {
    has_harmed: AtomicBool,
    has_ended: AtomicBool,
}

/// Accepts the connections of an endpoint, until it is closed.
pub(crate) struct Acceptor {
    served: Arc<Served>,
    socket: Arc<Socket>,
    signals: Arc<Signals>,
    current: Option<Current>,
    waiting: VecDeque<UnixStream>,
    penalty: Penalty,
}

impl Acceptor {
    pub(crate) fn new(served: Arc<Served>, socket: Arc<Socket>, signals: Arc<Signals>) -> io::Result<Self> {
        socket.listener().set_nonblocking(true)?;
        Ok(Self {
            served,
            socket,
            signals,
            current: None,
            waiting: VecDeque::new(),
            penalty: Penalty::default(),
        })
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
        fds.extend(self.waiting.iter().map(|stream| PollFd::new(stream, PollFlags::RDHUP | speech)));
        let timeout = self.silence_left().into_iter().chain(self.penalty_left()).min();
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
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

    /// Time until the next of the waiting may be served, because the last one has harmed others.
    fn penalty_left(&self) -> Option<Duration> {
        self.penalty.left(Instant::now()).filter(|_| self.current.is_none() && !self.waiting.is_empty())
    }

    /// Whether another connection may take the place of the one that is served.
    fn is_replaceable(&self) -> bool {
        let current = self.current.as_ref().filter(|current| current.is_reported && !current.is_cut_off);
        current.is_some() && !self.served.ledger.has_spoken()
    }

    fn drop_the_ended(&mut self) {
        if self.current.as_ref().is_some_and(|current| current.outcome.has_ended.load(Acquire)) {
            // Nothing is handed over unless the acceptor asks for it.
            drop(self.join());
        }
        self.waiting.retain(|stream| !has_hung_up(stream));
        self.served.ledger.set_waiting(self.waiting.len());
    }

    fn accept(&mut self) {
        let Served { name, log, ledger, .. } = &*self.served;
        match self.socket.listener().accept() {
            Ok((stream, _)) => {
                if self.current.is_some() {
                    ledger.waited();
                    log.waits.line(|| {
                        tracing::warn!(
                            "{name}: another front end has connected, and waits for the first to leave"
                        );
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

    /// Adds a connection to those that wait. Where too many wait, it takes the place of one that has
    /// said nothing, or else is dropped.
    fn queue(&mut self, stream: UnixStream) {
        if self.waiting.len() >= WAITING_MAX {
            let silent = self.waiting.iter().position(|stream| !has_spoken(stream));
            let Some(silent) = silent else { return };
            drop(self.waiting.remove(silent));
        }
        self.waiting.push_back(stream);
        self.served.ledger.set_waiting(self.waiting.len());
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
        if self.is_replaceable() && self.waiting.iter().any(has_spoken) {
            self.cut_off();
        }
    }

    fn cut_off(&mut self) {
        if let Some(current) = &mut self.current {
            current.is_cut_off = true;
            // It fails only if the front end has gone already.
            let _ = shutdown(&current.stream, Shutdown::Both);
        }
    }

    fn join(&mut self) -> Option<HandedOver> {
        let Current { thread, outcome, since, .. } = self.current.take()?;
        // A thread that panicked has no sessions left, or the process would be gone.
        let handed_over = thread.join().ok().flatten();
        self.judge(&outcome, since.elapsed());
        handed_over
    }

    /// Lets the next front end wait if the last one has harmed others.
    fn judge(&mut self, last: &Outcome, lasted: Duration) {
        if !last.has_harmed.load(Acquire) {
            return self.penalty.behaved(lasted);
        }
        let pause = self.penalty.harmed(Instant::now());
        let Served { name, log, .. } = &*self.served;
        log.penalty
            .line(|| tracing::warn!("{name}: the next front end is served in {pause:?} at the earliest"));
    }

    /// Serves the first of the waiting that has spoken, or else the first.
    fn serve_next(&mut self) {
        if self.current.is_some() || self.signals.is_closed() || self.penalty_left().is_some() {
            return;
        }
        let next = self.waiting.iter().position(has_spoken).unwrap_or(0);
        let Some(stream) = self.waiting.remove(next) else { return };
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
        let (ours, outcome) = (incoming.socket().try_clone()?, Arc::<Outcome>::default());
        let quit = Arc::new(Quit::new()?);
        let (served, signals, end) = (self.served.clone(), self.signals.clone(), outcome.clone());
        let stop = quit.clone();
        let thread = std::thread::Builder::new().name(format!("vhost-{}", served.name));
        self.served.ledger.connected();
        let Served { name, log, .. } = &*self.served;
        log.came.line(|| tracing::info!("{name}: a front end has connected"));
        let thread = thread.spawn(move || {
            let end_of_connection = serve(incoming, &served, &stop);
            stop.hear();
            end.has_harmed.store(has_harmed(&end_of_connection, &served), Release);
            let handed_over = report_end(end_of_connection, &served, &signals);
            end.has_ended.store(true, Release);
            signals.wake();
            handed_over
        });
        let thread = thread.inspect_err(|_| self.served.ledger.disconnected())?;
        let since = Instant::now();
        Ok(Current { stream: ours, since, is_reported: false, is_cut_off: false, outcome, quit, thread })
    }
}

/// Whether the memory of a front end has harmed others.
fn has_harmed(end: &End, served: &Served) -> bool {
    matches!(end, End::Harm(_)) || served.ledger.has_stalled()
}

/// Notes and logs the end of a connection; returns one that is handed over.
fn report_end(end: End, served: &Served, signals: &Signals) -> Option<HandedOver> {
    let Served { name, log, ledger, .. } = served;
    let mut handed_over = None;
    match end {
        End::HandedOver(connection) => handed_over = Some(connection),
        End::Left => log.left.line(|| tracing::info!("{name}: the front end has left")),
        End::Fault(_) | End::Harm(_) if signals.is_closed() => {}
        End::Fault(error) | End::Harm(error) => {
            ledger.protocol_error();
            log.fault.line(|| tracing::warn!("{name}: the front end was cut off: {error}"));
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

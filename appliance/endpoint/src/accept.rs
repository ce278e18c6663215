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
//! 2. another connection is served: a device has one guest;
//! 3. it left, broke the protocol, or said nothing and lost its place;
//! 4. the place is free, and the pause after peers that were cut off for cause is over (`backoff`);
//! 5. it hung up, or waited in silence while too many others came; where the protocol can tell a peer that another is
//!    served, it has spoken and was told so.
//!
//! Invariants
//! - One connection is served at a time, by a thread of its own.
//! - A connection that has not sent a whole message keeps nobody out: [`SILENCE`] after it came, the
//!   first of the others that speaks takes its place. One that has spoken keeps its place: a running
//!   guest gives its peer nothing to say for days.
//!
//! Not here: the protocol (`service`).

use crate::limit::Log;
use crate::quit::Quit;
use crate::service::{Busy, End, Incoming, Service};
use crate::signals::{Ending, Signals};
use crate::waiting::{Waiting, has_hung_up};
use luge_socket::Socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time that a peer has for its first message, while others wait.
const SILENCE: Duration = Duration::from_secs(1);

/// Time that a message may still take when its connection is to be handed over.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause when the kernel cannot accept: it is out of memory or file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The connection that is served.
struct Current<R> {
    stream: UnixStream,
    since: Instant,
    is_reported: bool,
    fate: Arc<Fate>,
    quit: Arc<Quit>,
    thread: JoinHandle<Option<R>>,
}

/// Facts that a connection's thread and the acceptor tell each other.
#[derive(Default)]
struct Fate {
    /// The acceptor has cut the connection off.
    cut_off: AtomicBool,
    /// The thread is at its end.
    ended: AtomicBool,
}

impl<R> Current<R> {
    fn is_cut_off(&self) -> bool {
        self.fate.cut_off.load(Relaxed)
    }

    fn has_ended(&self) -> bool {
        self.fate.ended.load(Acquire)
    }

    /// Whether the connection is about to end.
    fn is_going(&self) -> bool {
        self.is_cut_off() || self.has_ended() || has_hung_up(&self.stream)
    }
}

/// Accepts the connections of an endpoint, until it is closed.
pub(crate) struct Acceptor<S: Service> {
    service: Arc<S>,
    socket: Arc<Socket>,
    signals: Arc<Signals>,
    current: Option<Current<S::Resumed>>,
    waiting: Waiting,
    log: Arc<Log>,
}

impl<S: Service> Acceptor<S> {
    pub(crate) fn new(service: Arc<S>, socket: Arc<Socket>, signals: Arc<Signals>) -> io::Result<Self> {
        socket.listener().set_nonblocking(true)?;
        let (waiting, log) = (Waiting::default(), Arc::default());
        Ok(Self { service, socket, signals, current: None, waiting, log })
    }

    /// Serves a connection of another endpoint, before [`Self::run`].
    ///
    /// # Errors
    /// No thread can be made, or no more files can be open.
    pub(crate) fn resume(&mut self, connection: S::Resumed) -> io::Result<()> {
        self.current = Some(self.start(Incoming::Resumed(connection))?);
        Ok(())
    }

    /// Accepts and serves until the endpoint is closed, and waits until all requests that were taken have been
    /// answered. The connection that is served is cut off then, in the middle of a message if need be, or
    /// handed over between two messages.
    pub(crate) fn run(mut self) -> Option<S::Resumed> {
        while !self.signals.is_closed() {
            let newcomer = self.wait();
            self.drop_the_ended();
            if newcomer {
                self.accept();
            }
            self.check_silence();
            self.serve_next();
            self.refuse();
            self.service.ledger().set_waiting(self.waiting.len());
        }
        self.waiting.clear();
        let hands_over = self.signals.ending() == Some(Ending::HandOver);
        let is_heard = |current: &Current<_>| hands_over && current.quit.ask(MESSAGE_TIMEOUT);
        if !self.current.as_ref().is_some_and(is_heard) {
            self.cut_off();
        }
        self.join()
    }

    /// Waits until there is something to do; returns whether somebody connects.
    fn wait(&self) -> bool {
        let is_heard = self.is_replaceable() || self.refuses();
        let speech = if is_heard { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = vec![
            PollFd::new(&*self.signals, PollFlags::IN),
            PollFd::new(self.socket.listener(), PollFlags::IN),
        ];
        fds.extend(self.waiting.streams().map(|other| PollFd::new(other, PollFlags::RDHUP | speech)));
        let left = self.silence_left().or_else(|| self.pause_left());
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        // Interrupted or out of memory: another turn, no worse than one too many.
        let _ = poll(&mut fds, timeout.as_ref());
        let newcomer = fds.get(1).is_some_and(|listener| !listener.revents().is_empty());
        self.signals.take();
        newcomer
    }

    /// Time until the silence of the connection that is served is reported.
    fn silence_left(&self) -> Option<Duration> {
        let silent = self.current.as_ref().filter(|current| !current.is_reported);
        let silent = silent.filter(|_| !self.service.ledger().has_spoken())?;
        Some(SILENCE.saturating_sub(silent.since.elapsed()))
    }

    /// Time until the first of the waiting is served, if there is one that nobody but the back-off keeps out.
    fn pause_left(&self) -> Option<Duration> {
        let is_next = self.current.is_none() && !self.waiting.is_empty();
        is_next.then(|| self.service.ledger().pause_left())
    }

    /// Whether another connection may take the place of the one that is served.
    fn is_replaceable(&self) -> bool {
        let may_go = |current: &&Current<_>| current.is_reported && !current.is_cut_off();
        let current = self.current.as_ref().filter(may_go);
        current.is_some() && !self.service.ledger().has_spoken()
    }

    /// Whether others that speak are told that one is served, which will stay.
    fn refuses(&self) -> bool {
        let can_tell = matches!(self.service.when_busy(), Busy::Refused(_));
        let stays = |current: &Current<_>| self.service.ledger().has_spoken() && !current.is_going();
        can_tell && self.current.as_ref().is_some_and(stays)
    }

    fn drop_the_ended(&mut self) {
        if self.current.as_ref().is_some_and(Current::has_ended) {
            // Nothing is handed over unless the acceptor asks for it.
            drop(self.join());
        }
        self.waiting.drop_the_gone();
    }

    fn accept(&mut self) {
        let (name, peer) = (self.service.name(), self.service.peer());
        match self.socket.listener().accept() {
            Ok((stream, _)) => {
                if let Some(reason) = self.reason_to_wait() {
                    self.service.ledger().waited();
                    self.log.waits.line(|| {
                        tracing::warn!("{name}: another {peer} has connected, and waits {reason}");
                    });
                }
                self.waiting.add(stream, self.service.descriptors());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) if self.signals.is_closed() => {}
            Err(error) => {
                self.log.deaf.line(|| tracing::warn!("{name}: cannot accept a {peer}: {error}"));
                std::thread::sleep(ACCEPT_AGAIN);
            }
        }
    }

    /// Reason why a peer that has connected is not served at once, in words.
    fn reason_to_wait(&self) -> Option<String> {
        if self.current.is_some() {
            return Some("for the first to leave".into());
        }
        let pause = self.service.ledger().pause_left();
        let reason = || format!("{} ms, because others were cut off before it", pause.as_millis());
        (pause > Duration::ZERO).then(reason)
    }

    fn check_silence(&mut self) {
        if self.silence_left() == Some(Duration::ZERO)
            && let Some(current) = &mut self.current
        {
            current.is_reported = true;
            let (name, peer) = (self.service.name(), self.service.peer());
            self.service.ledger().silent();
            self.log.silent.line(|| {
                tracing::warn!("{name}: the {peer} has sent no message: one that does takes its place");
            });
        }
        if self.is_replaceable() && self.waiting.has_speaker() {
            self.cut_off();
        }
    }

    fn cut_off(&mut self) {
        if let Some(current) = &self.current {
            current.fate.cut_off.store(true, Relaxed);
            // It fails only if the peer has gone already.
            let _ = shutdown(&current.stream, Shutdown::Both);
        }
    }

    fn join(&mut self) -> Option<S::Resumed> {
        // A thread that panicked has no sessions left, or the process would be gone.
        self.current.take()?.thread.join().ok().flatten()
    }

    /// Tells those that have spoken that another is served, and closes their connections.
    fn refuse(&mut self) {
        let Busy::Refused(answer) = self.service.when_busy() else { return };
        while self.refuses()
            && let Some(stream) = self.waiting.take_speaker()
        {
            answer(&stream);
            self.service.ledger().refused();
        }
    }

    /// Serves the first of the waiting that has spoken, or else the first.
    fn serve_next(&mut self) {
        if self.current.is_some() || self.signals.is_closed() || self.pause_left() > Some(Duration::ZERO) {
            return;
        }
        let Some(stream) = self.waiting.take() else { return };
        self.service.ledger().set_waiting(self.waiting.len());
        match self.start(Incoming::New(stream)) {
            Ok(current) => self.current = Some(current),
            Err(error) => {
                let (name, peer) = (self.service.name(), self.service.peer());
                self.log.deaf.line(|| tracing::warn!("{name}: cannot serve a {peer}: {error}"));
            }
        }
    }

    /// Starts the thread that serves a connection.
    fn start(&self, incoming: Incoming<S::Resumed>) -> io::Result<Current<S::Resumed>> {
        let (ours, fate) = (incoming.socket().try_clone()?, Arc::<Fate>::default());
        let quit = Arc::new(Quit::new()?);
        let (signals, its_fate, its_quit) = (self.signals.clone(), fate.clone(), quit.clone());
        let (service, log) = (self.service.clone(), self.log.clone());
        let thread = std::thread::Builder::new().name(format!("serve-{}", service.name()));
        self.service.ledger().connected();
        let thread = thread.spawn(move || {
            let is_cut_off = || signals.is_closed() || its_fate.cut_off.load(Relaxed);
            let end = service.serve(incoming, &its_quit);
            its_quit.hear();
            let handed_over = report(&*service, &log, end, &is_cut_off);
            its_fate.ended.store(true, Release);
            signals.wake();
            handed_over
        });
        let thread = thread.inspect_err(|_| self.service.ledger().disconnected())?;
        let (name, peer) = (self.service.name(), self.service.peer());
        self.log.came.line(|| tracing::info!("{name}: a {peer} has connected"));
        Ok(Current { stream: ours, since: Instant::now(), is_reported: false, fate, quit, thread })
    }
}

/// Notes and logs the end of a connection; returns the connection if it is handed over. `is_cut_off` says whether the
/// end is ours: then it is no fault.
fn report<S: Service>(
    service: &S,
    log: &Log,
    end: End<S::Resumed>,
    is_cut_off: &dyn Fn() -> bool,
) -> Option<S::Resumed> {
    let (name, peer, ledger) = (service.name(), service.peer(), service.ledger());
    let mut handed_over = None;
    match end {
        End::HandedOver(connection) => handed_over = Some(connection),
        End::Left => {
            ledger.left();
            log.left.line(|| tracing::info!("{name}: the {peer} has left"));
        }
        End::Fault(_) if is_cut_off() => {}
        End::Fault(error) => {
            let pause_ms = ledger.protocol_error().as_millis();
            log.fault.line(|| {
                tracing::warn!(
                    "{name}: the {peer} was cut off: {error}; the next is served after {pause_ms} ms"
                );
            });
        }
    }
    ledger.disconnected();
    handed_over
}

//! Doorbells of a server that lets nobody map them: memory that a thread looks at, and sends on.
//!
//! Path: NVMe queue pair -> **doorbell** -> controller.
//!
//! A core must not wait for a socket. So it stores a doorbell to memory, as it does to a mapped one; the thread takes
//! what is there and sends it. It looks often after it has found something, and every millisecond otherwise.
//!
//! Invariants
//! - A doorbell is sent before a register that is written after it, and before a later one of the same queue.
//! - Of several values of a doorbell the last one is sent.

#![expect(unsafe_code, reason = "doorbells are spans, made from addresses")]

use super::connection::Connection;
use luge_memory::{PeerMemory, SharedArray, Span};
use luge_spec::vfio_user::RegionIndex;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of BAR 0 that can be relayed.
const BYTES: u32 = 64 << 10;

/// Value of a doorbell with nothing to send; queues have 65536 entries at most.
const NOTHING: u32 = u32::MAX;

const PAUSE_BUSY: Duration = Duration::from_micros(50);
const PAUSE_IDLE: Duration = Duration::from_millis(1);

/// Time after the last doorbell for which the thread looks often.
const BUSY: Duration = Duration::from_millis(20);

/// Relay of doorbells, with a thread from the first one on.
pub struct Relay {
    connection: Arc<Connection>,
    running: Mutex<Option<Running>>,
}

struct Running {
    doorbells: Arc<Doorbells>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Doorbells {
    connection: Arc<Connection>,
    memory: PeerMemory,
    words: SharedArray<u32>,
    /// Number of words from the start of the BAR that may be doorbells.
    end: AtomicU32,
    /// Held while values are taken and sent, so that they are sent in order.
    sending: Mutex<()>,
}

impl Relay {
    /// Relay without a thread.
    pub fn new(connection: Arc<Connection>) -> Self {
        Self { connection, running: Mutex::default() }
    }

    /// Memory for `len` bytes of BAR 0 from `offset`, which lives as long as the relay.
    ///
    /// # Errors
    /// `InvalidInput` beyond what is relayed, else the kernel's.
    pub fn registers(&self, offset: u32, len: u32) -> io::Result<Span> {
        let mut running = self.lock();
        let doorbells = match &*running {
            Some(running) => running.doorbells.clone(),
            None => running.insert(Running::start(self.connection.clone())?).doorbells.clone(),
        };
        doorbells.span(offset, len).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Sends all doorbells that wait.
    pub fn flush(&self) {
        if let Some(running) = &*self.lock() {
            running.doorbells.send();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn start(connection: Arc<Connection>) -> io::Result<Self> {
        let (doorbells, stop) = (Arc::new(Doorbells::new(connection)?), Arc::new(AtomicBool::new(false)));
        let (looked_at, stopped) = (doorbells.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("vfio-user-bells".to_owned())
            .spawn(move || looked_at.relay_until(&stopped))?;
        Ok(Self { doorbells, stop, thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Relaxed: the thread looks again after each pause.
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!(
                    "the thread that relays doorbells has ended by a fault of Luge: please report it"
                );
            }
        }
    }
}

impl Doorbells {
    fn new(connection: Arc<Connection>) -> io::Result<Self> {
        let file = memfd_create("luge-doorbells", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, BYTES.into())?;
        let memory = PeerMemory::map(&file, 0, BYTES.into()).map_err(io::Error::other)?;
        // SAFETY: the memory is kept beside the words.
        let span = unsafe { memory.span(0, BYTES) }.ok_or(io::ErrorKind::InvalidData)?;
        span.fill(0xff);
        let words = SharedArray::new(span).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { connection, memory, words, end: AtomicU32::new(0), sending: Mutex::default() })
    }

    fn span(&self, offset: u32, len: u32) -> Option<Span> {
        // SAFETY: the function keeps the relay, and with it this memory, as long as its registers are used.
        let span = unsafe { self.memory.span(offset.into(), len) }?;
        // Release: the span is given away after it is looked at.
        self.end.fetch_max(offset.checked_add(len)?.div_ceil(4), Ordering::Release);
        Some(span)
    }

    fn relay_until(&self, stop: &AtomicBool) {
        let mut busy = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            if self.send() {
                busy = Instant::now();
            }
            std::thread::park_timeout(if busy.elapsed() < BUSY { PAUSE_BUSY } else { PAUSE_IDLE });
        }
    }

    /// Sends all doorbells that wait; returns whether there were any.
    fn send(&self) -> bool {
        let _in_order = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        (0..self.end.load(Ordering::Acquire)).filter(|&index| self.send_one(index)).count() > 0
    }

    fn send_one(&self, index: u32) -> bool {
        if self.words.load(index, Ordering::Relaxed) == NOTHING {
            return false;
        }
        // Acquire: the entries that the doorbell announces are seen by the server, which gets the message later.
        let value = self.words.swap(index, NOTHING, Ordering::Acquire).filter(|&value| value != NOTHING);
        let Some(value) = value else { return false };
        let offset = u64::from(index).saturating_mul(4);
        // A server that is lost gets none; the next look at a register shows that.
        let _ = self.connection.write(RegionIndex::BAR0, offset, &value.to_le_bytes());
        true
    }
}

//! A VM's serial console: one guest, any number of watchers.
//!
//! Invariants
//! - The guest is never held up by a watcher: what a slow one has not read is dropped,
//!   the oldest first.
//! - A watcher that comes late is shown the latest text first.
//! - Every buffer is bounded, whatever the guest or a watcher writes.

use crate::tail::Tail;
use luge_socket::Socket;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// What is kept of the guest's text.
const TAIL_BYTES: usize = 64 * 1024;
/// What is kept of a watcher's keys while the guest does not take them.
const KEYS_BYTES: usize = 4096;
const WATCHERS_MAX: usize = 16;

/// The latest text of a console; survives the console.
pub(crate) type ConsoleText = Arc<Mutex<Tail>>;

/// An empty text.
pub(crate) fn console_text() -> ConsoleText {
    Arc::new(Mutex::new(Tail::new(TAIL_BYTES)))
}

/// A console being served; dropping it ends that.
#[derive(Debug)]
pub(crate) struct Console {
    end: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Console {
    /// Serves the guest on `guest` to whoever connects to `socket`.
    pub(crate) fn serve(guest: UnixStream, socket: Socket, text: ConsoleText) -> io::Result<Self> {
        guest.set_nonblocking(true)?;
        socket.listener().set_nonblocking(true)?;
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let mut hub =
            Hub { guest, socket, text, keys: VecDeque::new(), watchers: Vec::new(), end: Arc::clone(&end) };
        let thread = thread::Builder::new().name("vm console".into()).spawn(move || while hub.turn() {})?;
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Hub {
    guest: UnixStream,
    socket: Socket,
    text: ConsoleText,
    /// Keys on their way to the guest.
    keys: VecDeque<u8>,
    watchers: Vec<Watcher>,
    end: Arc<OwnedFd>,
}

struct Watcher {
    stream: UnixStream,
    /// Text on its way to this watcher.
    text: Tail,
}

impl Hub {
    /// Waits for something to do and does it. `false` when the guest is gone or the end was asked for.
    fn turn(&mut self) -> bool {
        let Ok(ready) = self.wait() else { return false };
        if ready[0].intersects(PollFlags::IN) {
            self.show_the_rest();
            return false;
        }
        let more = ready[1].is_empty() || self.serve_guest();
        if ready[2].intersects(PollFlags::IN) {
            self.admit();
        }
        let mut ready = ready[3..].iter();
        let keys = &mut self.keys;
        self.watchers.retain_mut(|watcher| match ready.next() {
            Some(events) if !events.is_empty() => watcher.serve(*events, keys),
            _ => true,
        });
        more
    }

    fn wait(&self) -> io::Result<Vec<PollFlags>> {
        let when = |condition: bool, flags: PollFlags| if condition { flags } else { PollFlags::empty() };
        let room = self.watchers.len() < WATCHERS_MAX;
        let keys_wanted = when(self.keys.len() < KEYS_BYTES, PollFlags::IN);
        let mut fds = vec![
            PollFd::new(&*self.end, PollFlags::IN),
            PollFd::new(&self.guest, PollFlags::IN | when(!self.keys.is_empty(), PollFlags::OUT)),
            PollFd::new(self.socket.listener(), when(room, PollFlags::IN)),
        ];
        for watcher in &self.watchers {
            let waiting = when(!watcher.text.is_empty(), PollFlags::OUT);
            fds.push(PollFd::new(&watcher.stream, keys_wanted | waiting));
        }
        while let Err(error) = poll(&mut fds, None) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
        Ok(fds.iter().map(PollFd::revents).collect())
    }

    /// `false` when the guest is gone.
    fn serve_guest(&mut self) -> bool {
        let (keys, _) = self.keys.as_slices();
        if let Ok(count) = self.guest.write(keys) {
            self.keys.drain(..count);
        }
        let mut buffer = [0; 4096];
        match self.guest.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.show(&buffer[..count]);
                true
            }
            Err(error) => may_go_on(&error),
        }
    }

    /// What the guest wrote last has arrived by now: its QEMU is gone.
    fn show_the_rest(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.guest.read(&mut buffer) {
            self.show(&buffer[..count]);
        }
    }

    fn show(&mut self, bytes: &[u8]) {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        for watcher in &mut self.watchers {
            watcher.text.push(bytes);
            watcher.flush();
        }
    }

    fn admit(&mut self) {
        let Ok((stream, _)) = self.socket.listener().accept() else { return };
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let mut text = Tail::new(TAIL_BYTES);
        text.push(&self.text.lock().unwrap_or_else(PoisonError::into_inner).bytes());
        let mut watcher = Watcher { stream, text };
        watcher.flush();
        self.watchers.push(watcher);
    }
}

impl Watcher {
    /// `false` when the watcher is gone.
    fn serve(&mut self, events: PollFlags, keys: &mut VecDeque<u8>) -> bool {
        self.flush();
        let mut buffer = [0; KEYS_BYTES];
        let room = KEYS_BYTES.saturating_sub(keys.len());
        if room == 0 {
            return !events.intersects(PollFlags::HUP | PollFlags::ERR);
        }
        match self.stream.read(&mut buffer[..room]) {
            Ok(0) => false,
            Ok(count) => {
                keys.extend(&buffer[..count]);
                true
            }
            Err(error) => may_go_on(&error),
        }
    }

    fn flush(&mut self) {
        while let Ok(count @ 1..) = self.stream.write(self.text.front()) {
            self.text.take(count);
        }
    }
}

fn may_go_on(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_socket::Permissions;
    use std::path::PathBuf;
    use std::time::Duration;

    struct Rig {
        guest: UnixStream,
        path: PathBuf,
        text: ConsoleText,
        console: Console,
        _folder: tempfile::TempDir,
    }

    fn rig() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console");
        let (ours, guest) = UnixStream::pair().unwrap();
        guest.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let text = console_text();
        let console =
            Console::serve(ours, Socket::bind(&path, &Permissions::OWNER).unwrap(), Arc::clone(&text))
                .unwrap();
        Rig { guest, path, text, console, _folder: folder }
    }

    impl Rig {
        fn watch(&self) -> UnixStream {
            let watcher = UnixStream::connect(&self.path).unwrap();
            watcher.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            watcher
        }

        /// Waits until the last byte the guest wrote is in the text.
        fn wait_for_text(&self, end: &[u8]) {
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            while !self.text.lock().unwrap().bytes().ends_with(end) {
                assert!(std::time::Instant::now() < deadline, "the guest's text never came");
                thread::yield_now();
            }
        }
    }

    fn read(stream: &mut UnixStream, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_watcher_sees_the_guest_and_the_guest_gets_the_keys_of_all() {
        let mut rig = rig();
        rig.guest.write_all(b"early ").unwrap();
        rig.wait_for_text(b"early ");
        let (mut one, mut two) = (rig.watch(), rig.watch());
        assert_eq!((read(&mut one, 6), read(&mut two, 6)), (b"early ".to_vec(), b"early ".to_vec()));
        rig.guest.write_all(b"late").unwrap();
        assert_eq!((read(&mut one, 4), read(&mut two, 4)), (b"late".to_vec(), b"late".to_vec()));
        one.write_all(b"a").unwrap();
        assert_eq!(read(&mut rig.guest, 1), b"a");
        two.write_all(b"b").unwrap();
        assert_eq!(read(&mut rig.guest, 1), b"b");
    }

    #[test]
    fn a_watcher_that_never_reads_does_not_hold_up_the_guest() {
        let mut rig = rig();
        let lazy = rig.watch();
        let mut chunk = vec![b'x'; 1 << 20];
        chunk.extend(b"the end");
        rig.guest.write_all(&chunk).unwrap();
        rig.wait_for_text(b"the end");
        assert_eq!(rig.text.lock().unwrap().bytes().len(), TAIL_BYTES);
        drop(lazy);
    }

    #[test]
    fn keys_for_a_guest_that_never_reads_end_in_backpressure_not_in_memory() {
        let mut rig = rig();
        let mut watcher = rig.watch();
        watcher.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(watcher.write_all(&vec![b'k'; 4 << 20]).is_err());
        rig.guest.write_all(b"alive").unwrap();
        assert_eq!(read(&mut watcher, 5), b"alive");
    }

    #[test]
    fn the_last_words_of_a_guest_are_kept_however_soon_the_console_ends() {
        for _ in 0..200 {
            let mut rig = rig();
            rig.guest.write_all(b"Power down").unwrap();
            drop(rig.guest);
            drop(rig.console);
            assert_eq!(rig.text.lock().unwrap().bytes(), b"Power down");
        }
    }

    #[test]
    fn watchers_are_let_go_when_the_guest_is_gone() {
        let rig = rig();
        let mut watcher = rig.watch();
        drop(rig.guest);
        assert_eq!(watcher.read(&mut [0; 8]).unwrap(), 0);
        drop(rig.console);
    }
}

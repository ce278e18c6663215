//! Serial console of a VM: connects the guest with up to 16 clients.
//!
//! Invariants
//! - A client never delays the guest: text that a slow client has not read is dropped, the oldest first.
//! - A new client gets the latest text first.
//! - All buffers are bounded, whatever the guest and the clients write.

use crate::tail::Tail;
use luge_socket::Socket;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Maximum size of the kept text.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of keys that wait for the guest. Clients are not read beyond that.
const KEYS_MAX: usize = 4096;
const CLIENTS_MAX: usize = 16;

/// Latest text of a console, kept after the console ends.
pub(crate) type ConsoleText = Arc<Mutex<Tail>>;

/// Empty text.
pub(crate) fn console_text() -> ConsoleText {
    Arc::new(Mutex::new(Tail::new(TEXT_BYTES_MAX)))
}

/// A running console. Dropping it ends the console.
#[derive(Debug)]
pub(crate) struct Console {
    end: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Console {
    /// Connects the guest at `guest` with clients of `socket`.
    pub(crate) fn serve(guest: UnixStream, socket: Socket, text: ConsoleText) -> io::Result<Self> {
        guest.set_nonblocking(true)?;
        socket.listener().set_nonblocking(true)?;
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let (keys, clients) = (VecDeque::new(), Vec::new());
        let mut server = Server { guest, socket, text, keys, clients, end: Arc::clone(&end) };
        let thread =
            thread::Builder::new().name("vm console".into()).spawn(move || while server.serve() {})?;
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The guest and the clients of a console.
struct Server {
    guest: UnixStream,
    socket: Socket,
    text: ConsoleText,
    /// Keys that wait for the guest.
    keys: VecDeque<u8>,
    clients: Vec<Client>,
    /// Eventfd that is readable when the console is to end.
    end: Arc<OwnedFd>,
}

struct Client {
    stream: UnixStream,
    /// Text that waits for the client.
    text: Tail,
}

impl Server {
    /// Waits for events and handles them; returns false when the guest or the console has ended.
    fn serve(&mut self) -> bool {
        let Ok(ready) = self.wait() else { return false };
        if ready[0].intersects(PollFlags::IN) {
            self.read_rest();
            return false;
        }
        let has_guest = ready[1].is_empty() || self.serve_guest();
        if ready[2].intersects(PollFlags::IN) {
            self.admit();
        }
        let mut ready = ready[3..].iter();
        let keys = &mut self.keys;
        self.clients.retain_mut(|client| match ready.next() {
            Some(events) if !events.is_empty() => client.serve(*events, keys),
            _ => true,
        });
        has_guest
    }

    /// Waits for events; returns those of the end, the guest, the socket and each client.
    fn wait(&self) -> io::Result<Vec<PollFlags>> {
        let when = |condition: bool, flags: PollFlags| if condition { flags } else { PollFlags::empty() };
        let has_room = self.clients.len() < CLIENTS_MAX;
        let keys_wanted = when(self.keys.len() < KEYS_MAX, PollFlags::IN);
        let mut fds = vec![
            PollFd::new(&*self.end, PollFlags::IN),
            PollFd::new(&self.guest, PollFlags::IN | when(!self.keys.is_empty(), PollFlags::OUT)),
            PollFd::new(self.socket.listener(), when(has_room, PollFlags::IN)),
        ];
        for client in &self.clients {
            let waiting = when(!client.text.is_empty(), PollFlags::OUT);
            fds.push(PollFd::new(&client.stream, keys_wanted | waiting));
        }
        while let Err(error) = poll(&mut fds, None) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
        Ok(fds.iter().map(PollFd::revents).collect())
    }

    /// Writes keys to the guest and reads its text; returns false when the guest has ended.
    fn serve_guest(&mut self) -> bool {
        let (keys, _) = self.keys.as_slices();
        if let Ok(count) = self.guest.write(keys) {
            self.keys.drain(..count);
        }
        let mut buffer = [0; 4096];
        match self.guest.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.forward(&buffer[..count]);
                true
            }
            Err(error) => is_temporary(&error),
        }
    }

    /// Reads the rest of the guest's text, all of which has arrived: its QEMU has ended.
    fn read_rest(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.guest.read(&mut buffer) {
            self.forward(&buffer[..count]);
        }
    }

    /// Stores text of the guest and sends it to all clients.
    fn forward(&mut self, bytes: &[u8]) {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        for client in &mut self.clients {
            client.text.push(bytes);
            client.flush();
        }
    }

    /// Accepts a client.
    fn admit(&mut self) {
        let Ok((stream, _)) = self.socket.listener().accept() else { return };
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let mut text = Tail::new(TEXT_BYTES_MAX);
        text.push(&self.text.lock().unwrap_or_else(PoisonError::into_inner).bytes());
        let mut client = Client { stream, text };
        client.flush();
        self.clients.push(client);
    }
}

impl Client {
    /// Writes text and reads keys; returns false when the client has disconnected.
    fn serve(&mut self, events: PollFlags, keys: &mut VecDeque<u8>) -> bool {
        self.flush();
        let mut buffer = [0; KEYS_MAX];
        let room = KEYS_MAX.saturating_sub(keys.len());
        if room == 0 {
            return !events.intersects(PollFlags::HUP | PollFlags::ERR);
        }
        match self.stream.read(&mut buffer[..room]) {
            Ok(0) => false,
            Ok(count) => {
                keys.extend(&buffer[..count]);
                true
            }
            Err(error) => is_temporary(&error),
        }
    }

    fn flush(&mut self) {
        while let Ok(count @ 1..) = self.stream.write(self.text.front()) {
            self.text.remove_front(count);
        }
    }
}

fn is_temporary(error: &io::Error) -> bool {
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
        fn client(&self) -> UnixStream {
            let client = UnixStream::connect(&self.path).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client
        }

        /// Waits until the kept text ends with `end`.
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
    fn all_clients_get_the_text_and_the_guest_gets_the_keys_of_all() {
        let mut rig = rig();
        rig.guest.write_all(b"early ").unwrap();
        rig.wait_for_text(b"early ");
        let (mut one, mut two) = (rig.client(), rig.client());
        assert_eq!(read(&mut one, 6), b"early ");
        assert_eq!(read(&mut two, 6), b"early ");
        rig.guest.write_all(b"late").unwrap();
        assert_eq!(read(&mut one, 4), b"late");
        assert_eq!(read(&mut two, 4), b"late");
        one.write_all(b"a").unwrap();
        assert_eq!(read(&mut rig.guest, 1), b"a");
        two.write_all(b"b").unwrap();
        assert_eq!(read(&mut rig.guest, 1), b"b");
    }

    #[test]
    fn a_client_that_never_reads_does_not_delay_the_guest() {
        let mut rig = rig();
        let lazy = rig.client();
        let mut chunk = vec![b'x'; 1 << 20];
        chunk.extend(b"the end");
        rig.guest.write_all(&chunk).unwrap();
        rig.wait_for_text(b"the end");
        assert_eq!(rig.text.lock().unwrap().bytes().len(), TEXT_BYTES_MAX);
        drop(lazy);
    }

    #[test]
    fn keys_for_a_guest_that_never_reads_are_bounded_by_backpressure() {
        let mut rig = rig();
        let mut client = rig.client();
        client.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(client.write_all(&vec![b'k'; 4 << 20]).is_err());
        rig.guest.write_all(b"alive").unwrap();
        assert_eq!(read(&mut client, 5), b"alive");
    }

    #[test]
    fn the_last_text_of_a_guest_is_kept_even_if_the_console_ends_at_once() {
        for _ in 0..200 {
            let mut rig = rig();
            rig.guest.write_all(b"Power down").unwrap();
            drop(rig.guest);
            drop(rig.console);
            assert_eq!(rig.text.lock().unwrap().bytes(), b"Power down");
        }
    }

    #[test]
    fn clients_are_disconnected_when_the_guest_has_ended() {
        let rig = rig();
        let mut client = rig.client();
        drop(rig.guest);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        drop(rig.console);
    }
}

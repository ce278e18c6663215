//! Connection of the terminal with a VM's console, until Ctrl-] is typed.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Ctrl-], the escape key of telnet.
const ESCAPE_KEY: u8 = 0x1d;

/// Reason for the end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Detached {
    /// Ctrl-] was typed.
    EscapeKey,
    /// The VM closed its console.
    VmClosed,
    /// The terminal was closed.
    TerminalClosed,
}

/// Copies bytes between the terminal and the VM's console at `socket` until either is closed or Ctrl-]
/// is typed.
pub(crate) fn attach(input: BorrowedFd<'_>, output: &mut impl Write, socket: &Path) -> io::Result<Detached> {
    let mut vm = UnixStream::connect(socket)?;
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(input, PollFlags::IN),
            PollFd::from_borrowed_fd(vm.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let (has_keys, has_output) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        if has_output && !copy_output(&mut vm, output)? {
            return Ok(Detached::VmClosed);
        }
        if has_keys && let Some(detached) = copy_keys(input, &mut vm)? {
            return Ok(detached);
        }
    }
}

/// Copies output of the VM; returns false if the VM closed its console.
fn copy_output(vm: &mut UnixStream, output: &mut impl Write) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    let count = match vm.read(&mut buffer) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
        other => other?,
    };
    output.write_all(&buffer[..count])?;
    output.flush()?;
    Ok(count > 0)
}

/// Copies keys to the VM; returns the reason if the connection ends.
fn copy_keys(input: BorrowedFd<'_>, vm: &mut UnixStream) -> io::Result<Option<Detached>> {
    let mut buffer = [0; 256];
    let count = match rustix::io::read(input, &mut buffer) {
        Err(Errno::INTR) => return Ok(None),
        Err(_) | Ok(0) => return Ok(Some(Detached::TerminalClosed)),
        Ok(count) => count,
    };
    let keys = &buffer[..count];
    let escape = keys.iter().position(|key| *key == ESCAPE_KEY);
    if vm.write_all(&keys[..escape.unwrap_or(count)]).is_err() {
        return Ok(Some(Detached::VmClosed));
    }
    Ok(escape.map(|_| Detached::EscapeKey))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn keys_and_output_are_copied_until_the_escape_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console");
        let listener = UnixListener::bind(&path).unwrap();
        let (terminal, mut keyboard) = std::io::pipe().unwrap();
        let vm = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"login: ").unwrap();
            keyboard.write_all(b"root\x1dpoweroff").unwrap();
            let mut keys = Vec::new();
            stream.read_to_end(&mut keys).unwrap();
            keys
        });
        let mut screen = Vec::new();
        assert_eq!(attach(terminal.as_fd(), &mut screen, &path).unwrap(), Detached::EscapeKey);
        assert_eq!(vm.join().unwrap(), b"root");
        assert_eq!(screen, b"login: ");
    }

    #[test]
    fn the_connection_ends_when_either_end_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console");
        let listener = UnixListener::bind(&path).unwrap();
        let (terminal, keyboard) = std::io::pipe().unwrap();
        let vm = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"bye").unwrap());
        let mut screen = Vec::new();
        assert_eq!(attach(terminal.as_fd(), &mut screen, &path).unwrap(), Detached::VmClosed);
        assert_eq!(screen, b"bye");
        vm.join().unwrap();
        let path = folder.path().join("another");
        let _listener = UnixListener::bind(&path).unwrap();
        drop(keyboard);
        assert_eq!(attach(terminal.as_fd(), &mut screen, &path).unwrap(), Detached::TerminalClosed);
    }
}

//! The terminal becomes that of a virtual machine, until Ctrl-].

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Ctrl-], as in telnet.
const LEAVE: u8 = 0x1d;

/// Why it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// Ctrl-] was typed.
    ByKey,
    /// The virtual machine is gone.
    MachineGone,
    /// The terminal is gone.
    TerminalGone,
}

/// Joins the terminal with the console at `socket`.
pub(crate) fn attach(input: BorrowedFd<'_>, output: &mut impl Write, socket: &Path) -> io::Result<Left> {
    let mut machine = UnixStream::connect(socket)?;
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(input, PollFlags::IN),
            PollFd::from_borrowed_fd(machine.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let (typed, shown) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        if shown && !show(&mut machine, output)? {
            return Ok(Left::MachineGone);
        }
        if typed && let Some(left) = type_keys(input, &mut machine)? {
            return Ok(left);
        }
    }
}

/// `false` when the machine is gone.
fn show(machine: &mut UnixStream, output: &mut impl Write) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    let count = match machine.read(&mut buffer) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
        other => other?,
    };
    output.write_all(&buffer[..count])?;
    output.flush()?;
    Ok(count > 0)
}

fn type_keys(input: BorrowedFd<'_>, machine: &mut UnixStream) -> io::Result<Option<Left>> {
    let mut buffer = [0; 256];
    let count = match rustix::io::read(input, &mut buffer) {
        Err(Errno::INTR) => return Ok(None),
        Err(_) | Ok(0) => return Ok(Some(Left::TerminalGone)),
        Ok(count) => count,
    };
    let keys = &buffer[..count];
    let leave = keys.iter().position(|key| *key == LEAVE);
    if machine.write_all(&keys[..leave.unwrap_or(count)]).is_err() {
        return Ok(Some(Left::MachineGone));
    }
    Ok(leave.map(|_| Left::ByKey))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn keys_go_in_text_comes_out_and_ctrl_bracket_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console");
        let listener = UnixListener::bind(&path).unwrap();
        let (terminal, mut fingers) = std::io::pipe().unwrap();
        let machine = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"login: ").unwrap();
            fingers.write_all(b"root\x1dpoweroff").unwrap();
            let mut keys = Vec::new();
            stream.read_to_end(&mut keys).unwrap();
            keys
        });
        let mut screen = Vec::new();
        assert_eq!(attach(terminal.as_fd(), &mut screen, &path).unwrap(), Left::ByKey);
        assert_eq!((machine.join().unwrap(), screen), (b"root".to_vec(), b"login: ".to_vec()));
    }

    #[test]
    fn either_end_may_go_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console");
        let listener = UnixListener::bind(&path).unwrap();
        let (terminal, fingers) = std::io::pipe().unwrap();
        let gone = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"bye").unwrap());
        let mut screen = Vec::new();
        assert_eq!(attach(terminal.as_fd(), &mut screen, &path).unwrap(), Left::MachineGone);
        assert_eq!(screen, b"bye");
        gone.join().unwrap();
        let path = folder.path().join("another");
        let _listener = UnixListener::bind(&path).unwrap();
        drop(fingers);
        assert_eq!(attach(terminal.as_fd(), &mut screen, &path).unwrap(), Left::TerminalGone);
    }
}

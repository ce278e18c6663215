//! Reading and writing with a deadline for the whole of a text, not for each piece of it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Reads a piece, until `deadline` if there is one; an empty piece is the end of the stream.
///
/// # Errors
/// `TimedOut` after the deadline; errors of the kernel.
pub(crate) fn read_until(
    stream: &UnixStream,
    piece: &mut [u8],
    deadline: Option<Instant>,
) -> io::Result<usize> {
    loop {
        stream.set_read_timeout(deadline.map(left).transpose()?)?;
        if let Some(read) = attempt((&*stream).read(piece))? {
            return Ok(read);
        }
    }
}

/// Writes all of a text.
///
/// # Errors
/// `TimedOut` after the deadline, when a part may have been written; errors of the kernel.
pub(crate) fn write_until(stream: &UnixStream, mut text: &[u8], deadline: Instant) -> io::Result<()> {
    while !text.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        match attempt((&*stream).write(text))? {
            Some(0) => return Err(io::ErrorKind::WriteZero.into()),
            Some(written) => text = text.get(written..).unwrap_or_default(),
            None => {}
        }
    }
    Ok(())
}

/// Time left until a deadline.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Result of a system call; none if it was interrupted or its time is over.
fn attempt(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn a_read_of_a_silent_peer_ends_at_the_deadline() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let error = read_until(&ours, &mut [0; 8], Some(soon())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_write_to_a_peer_that_reads_a_little_at_a_time_ends_at_the_deadline() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || while theirs.read(&mut [0; 64]).is_ok_and(|read| read > 0) {});
            let deadline = soon();
            let error = loop {
                if let Err(error) = write_until(&ours, &[0; 1 << 20], deadline) {
                    break error;
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            ours.shutdown(std::net::Shutdown::Both).unwrap();
        });
    }

    #[test]
    fn a_read_without_a_deadline_gets_a_piece_and_the_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"abc").unwrap();
        drop(theirs);
        let mut piece = [0; 8];
        assert_eq!(read_until(&ours, &mut piece, None).unwrap(), 3);
        assert_eq!(read_until(&ours, &mut piece, None).unwrap(), 0);
    }
}

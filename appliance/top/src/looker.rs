//! Looker: takes snapshots on a thread of its own, so that a Luge that does not answer keeps no key waiting.

use luge_observe::{Observer, Snapshot, SourceError};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Result of a look.
pub(crate) type Look = Result<Snapshot, SourceError>;

/// Handle of the thread that takes snapshots. When dropped, the thread ends after its present call.
pub(crate) struct Looker {
    requests: Sender<()>,
    looks: Receiver<Look>,
    bell: PipeReader,
    is_looking: bool,
}

impl Looker {
    /// Starts the thread.
    ///
    /// # Errors
    /// No pipe or no thread can be made.
    pub(crate) fn start(observer: Observer) -> io::Result<Self> {
        let ((requests, asked), (answer, looks)) = (channel(), channel());
        let (bell, ring) = io::pipe()?;
        let thread = std::thread::Builder::new().name("looker".into());
        thread.spawn(move || look_whenever_asked(observer, &asked, &Answer { looks: answer, ring }))?;
        Ok(Self { requests, looks, bell, is_looking: false })
    }

    /// Asks for a snapshot, unless one is under way.
    pub(crate) fn look(&mut self) {
        self.is_looking = self.is_looking || self.requests.send(()).is_ok();
    }

    /// File that is readable when a snapshot has been taken.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Snapshot after [`Self::bell`] became readable.
    pub(crate) fn take(&mut self) -> Option<Look> {
        // The byte only wakes; the channel has the snapshot.
        let _ = self.bell.read(&mut [0]);
        self.is_looking = false;
        self.looks.try_recv().ok()
    }
}

/// Way back to the user's thread.
struct Answer {
    looks: Sender<Look>,
    ring: PipeWriter,
}

fn look_whenever_asked(mut observer: Observer, asked: &Receiver<()>, answer: &Answer) {
    while asked.recv().is_ok() {
        let look = observer.look();
        if answer.looks.send(look).is_err() || (&answer.ring).write_all(b"!").is_err() {
            return;
        }
    }
}

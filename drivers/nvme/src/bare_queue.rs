//! A queue pair without a channel, for load generators: its rings and doorbells, which the owner writes as they are.
//!
//! Path: load generator -> **rings, doorbells** -> controller.
//!
//! Not here: checks of completions, time limits of commands, ends of requests at a reset (`queue_pair`).

use crate::controller::Controller;
use crate::doorbells::Doorbells;
use crate::link::{Link, Stage};
use crate::registers::Doorbell;
use luge_block::{CoreId, OpenError};
use luge_memory::SharedArray;
use std::sync::Arc;

/// A queue pair that its owner drives. It is deleted when dropped.
pub struct BareQueue {
    controller: Arc<Controller>,
    link: Arc<Link>,
    doorbells: Doorbells,
    submissions: SharedArray<[u64; 8]>,
    completions: SharedArray<[u64; 2]>,
}

impl Controller {
    /// Creates a queue pair for an owner that drives it. All of its memory is zero.
    ///
    /// # Errors
    /// [`OpenError`] if there is no queue or no memory left.
    pub fn open_bare_queue(self: &Arc<Self>, core: CoreId) -> Result<BareQueue, OpenError> {
        let wrong = |reason: String| OpenError::Device { device: self.name().to_owned(), reason };
        let link = self.open_queue(self.name(), core, 0)?;
        let doorbells = Doorbells::map(&self.inner().registers, link.id.0);
        let rings =
            SharedArray::new(link.memory.submissions()).zip(SharedArray::new(link.memory.completions()));
        match (doorbells, rings) {
            (Ok(doorbells), Some((submissions, completions))) => {
                Ok(BareQueue { controller: self.clone(), link, doorbells, submissions, completions })
            }
            (doorbells, _) => {
                self.close_queue(&link);
                Err(wrong(doorbells.err().map_or("rings that are not aligned".to_owned(), |e| e.to_string())))
            }
        }
    }
}

impl BareQueue {
    /// Number of entries of each ring, a power of two.
    #[must_use]
    pub fn entries(&self) -> u16 {
        self.link.memory.entries()
    }

    /// Submission queue.
    #[must_use]
    pub fn submissions(&self) -> SharedArray<[u64; 8]> {
        self.submissions
    }

    /// Completion queue. The first round has the phase tag 1.
    #[must_use]
    pub fn completions(&self) -> SharedArray<[u64; 2]> {
        self.completions
    }

    /// Writes the tail of the submission queue to its doorbell.
    #[inline]
    pub fn ring_tail(&self, tail: u16) {
        self.doorbells.ring(Doorbell::SubmissionTail, tail);
    }

    /// Writes the head of the completion queue to its doorbell.
    #[inline]
    pub fn ring_head(&self, head: u16) {
        self.doorbells.ring(Doorbell::CompletionHead, head);
    }

    /// Whether the controller has the queue pair: no reset has ended it.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.link.stage() == Stage::Running
    }
}

impl Drop for BareQueue {
    fn drop(&mut self) {
        self.controller.close_queue(&self.link);
    }
}

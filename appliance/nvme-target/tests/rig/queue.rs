//! The host's side of a submission queue and of the completion queue that it feeds.

use luge_memory::GuestAddress;
use luge_nvme_target::{DoorbellPages, QueueLayout};
use luge_spec::nvme::{CompletionEntry, SubmissionEntry};
use luge_virtqueue::rig::RigMemory;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// A submission queue, and the completion queue.
pub struct HostQueue {
    memory: Arc<RigMemory>,
    doorbells: Arc<DoorbellPages>,
    submission: QueueLayout,
    completion: QueueLayout,
    tail: u32,
    head: u32,
    phase: bool,
    next_id: u16,
}

impl HostQueue {
    pub fn new(
        memory: Arc<RigMemory>,
        doorbells: Arc<DoorbellPages>,
        submission: QueueLayout,
        completion: QueueLayout,
    ) -> Self {
        let (tail, head, phase, next_id) = (0, 0, true, 0);
        Self { memory, doorbells, submission, completion, tail, head, phase, next_id }
    }

    /// Puts a command into the queue; returns the identifier that it got.
    pub fn push(&mut self, mut entry: SubmissionEntry) -> u16 {
        entry.command_id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.push_as_is(entry);
        entry.command_id
    }

    /// Puts a command into the queue, with its own identifier.
    pub fn push_as_is(&mut self, entry: SubmissionEntry) {
        self.write(self.tail, entry);
        self.tail = (self.tail + 1) % self.submission.entries;
    }

    /// Writes an entry.
    pub fn write(&self, index: u32, entry: SubmissionEntry) {
        let at = self.submission.base.0 + 64 * u64::from(index);
        self.memory.write(GuestAddress(at), entry.as_bytes());
    }

    /// Index of the next entry.
    pub fn tail(&self) -> u32 {
        self.tail
    }

    /// Stores the tail doorbell.
    pub fn ring(&self) {
        self.ring_with(self.tail);
    }

    /// Stores any value in the tail doorbell.
    pub fn ring_with(&self, value: u32) {
        assert!(self.doorbells.store(self.doorbells.tail_offset(self.submission.id), value));
    }

    /// Stores any value in the head doorbell.
    pub fn ring_head_with(&self, value: u32) {
        assert!(self.doorbells.store(self.doorbells.head_offset(self.completion.id), value));
    }

    /// Takes the next completion, and stores the head doorbell.
    pub fn take(&mut self) -> Option<CompletionEntry> {
        let end = self.peek()?;
        self.consume();
        self.ring_head_with(self.head);
        Some(end)
    }

    /// The next completion.
    pub fn peek(&self) -> Option<CompletionEntry> {
        let at = self.completion.base.0 + 16 * u64::from(self.head);
        let end = CompletionEntry::read_from_bytes(&self.memory.bytes(GuestAddress(at), 16)).unwrap();
        (end.status.phase() == self.phase).then_some(end)
    }

    /// Goes on to the next completion, without a doorbell.
    pub fn consume(&mut self) {
        self.head = (self.head + 1) % self.completion.entries;
        self.phase ^= self.head == 0;
    }

    /// Index of the next completion.
    pub fn head(&self) -> u32 {
        self.head
    }
}

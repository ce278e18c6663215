//! A submission queue of a host, with the completion queue that it feeds.

use luge_memory::GuestAddress;
use luge_spec::nvme::{CompletionEntry, SubmissionEntry};
use luge_virtqueue::rig::RigMemory;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// Bytes from one doorbell to the next, as the controllers of these tests have it.
pub const STRIDE: u64 = 64;

/// Offset of a submission queue's doorbell.
pub fn tail_doorbell(queue: u16) -> u64 {
    0x1000 + 2 * STRIDE * u64::from(queue)
}

/// A queue pair of a host.
pub struct QueuePair {
    pub id: u16,
    pub entries: u16,
    pub submission: u64,
    pub completion: u64,
    memory: Arc<RigMemory>,
    pub tail: u16,
    pub head: u16,
    phase: bool,
    next_command: u16,
}

impl QueuePair {
    /// A queue pair of `entries` entries each, in two pages from `at` on, which are zeroed.
    pub fn new(memory: &Arc<RigMemory>, id: u16, entries: u16, at: u64) -> Self {
        let (submission, completion) = (at, at + 64 * u64::from(entries));
        let completion = completion.next_multiple_of(4096);
        memory.write(GuestAddress(completion), &vec![0; 16 * usize::from(entries)]);
        let (memory, phase) = (memory.clone(), true);
        Self { id, entries, submission, completion, memory, tail: 0, head: 0, phase, next_command: 0 }
    }

    /// Puts a command into the queue; returns its identifier.
    pub fn push(&mut self, entry: SubmissionEntry) -> u16 {
        let command_id = self.next_command;
        self.next_command = self.next_command.wrapping_add(1);
        let at = self.submission + 64 * u64::from(self.tail);
        self.memory.write(GuestAddress(at), SubmissionEntry { command_id, ..entry }.as_bytes());
        self.tail = (self.tail + 1) % self.entries;
        command_id
    }

    /// The next completion.
    pub fn take(&mut self) -> Option<CompletionEntry> {
        let at = self.completion + 16 * u64::from(self.head);
        let entry = CompletionEntry::read_from_bytes(&self.memory.bytes(GuestAddress(at), 16)).unwrap();
        if entry.status.phase() != self.phase {
            return None;
        }
        self.head = (self.head + 1) % self.entries;
        self.phase ^= self.head == 0;
        Some(entry)
    }

    pub fn tail_doorbell(&self) -> u64 {
        tail_doorbell(self.id)
    }

    pub fn head_doorbell(&self) -> u64 {
        tail_doorbell(self.id) + STRIDE
    }
}

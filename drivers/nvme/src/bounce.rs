//! Buffers that an SSD can take, for requests whose own it cannot.
//!
//! Path: beside the path: spans of a request -> **bounce pages** -> PRPs.
//!
//! Invariants
//! - All memory, and all bookkeeping, exists since the queue pair was opened.
//! - A request that finds too few pages waits for others to give theirs back: first come, first
//!   served. There are pages for the largest transfer, so every one gets them.
//!
//! Not here: who decides to bounce (`queue_pair`), who counts it (`health`).

use crate::command::Command;
use crate::registers::PAGE_BYTES;
use crate::slots::CommandId;
use luge_memory::Span;
use std::collections::VecDeque;

/// Bounce pages, and the requests that have some or wait for some.
pub(crate) struct BouncePool {
    memory: Span,
    free: Vec<u16>,
    /// By slot. All lists have their full capacity from the start.
    jobs: Box<[Job]>,
    waiting: VecDeque<CommandId>,
}

/// What one request has.
struct Job {
    pages: Vec<u16>,
    data: Vec<Span>,
    command: Option<Command>,
}

impl BouncePool {
    /// Pages in `memory`, for `slots` requests of `pages_max` pages and `spans_max` spans at most.
    pub(crate) fn new(memory: Span, slots: u16, pages_max: u16, spans_max: u16) -> Self {
        let pages = u16::try_from(memory.len() / PAGE_BYTES).unwrap_or(u16::MAX);
        let job = || Job {
            pages: Vec::with_capacity(pages_max.into()),
            data: Vec::with_capacity(spans_max.into()),
            command: None,
        };
        Self {
            memory,
            free: (0..pages).rev().collect(),
            jobs: (0..slots).map(|_| job()).collect(),
            waiting: VecDeque::with_capacity(slots.into()),
        }
    }

    /// How many requests wait for pages.
    #[inline]
    pub(crate) fn waiting(&self) -> u16 {
        u16::try_from(self.waiting.len()).unwrap_or(u16::MAX)
    }

    /// Lets a request wait for pages; `data` is within the limits of `new`.
    pub(crate) fn wait(&mut self, id: CommandId, data: &[Span], command: Command) {
        if let Some(job) = self.jobs.get_mut(usize::from(id.slot())) {
            job.data.extend_from_slice(data);
            job.command = Some(command);
            self.waiting.push_back(id);
        }
    }

    /// The request that has waited longest, with its pages; none while there are too few.
    pub(crate) fn next_ready(&mut self) -> Option<(CommandId, Command)> {
        let id = self.waiting.front().copied()?;
        let job = self.jobs.get_mut(usize::from(id.slot()))?;
        let needed = usize::try_from(bytes(&job.data).div_ceil(PAGE_BYTES)).ok()?;
        let left = self.free.len().checked_sub(needed)?;
        self.waiting.pop_front();
        job.pages.extend(self.free.drain(left..));
        Some((id, job.command?))
    }

    /// The request's pages, as long as its data is.
    pub(crate) fn spans(&self, id: CommandId) -> impl Iterator<Item = Span> {
        let job = self.jobs.get(usize::from(id.slot()));
        let mut left = job.map_or(0, |job| bytes(&job.data));
        let memory = self.memory;
        job.into_iter().flat_map(|job| &job.pages).filter_map(move |&page| {
            let len = left.min(PAGE_BYTES);
            left = left.saturating_sub(len);
            memory.slice(u32::from(page).saturating_mul(PAGE_BYTES), len)
        })
    }

    /// Copies the request's data into the pages: before a write.
    pub(crate) fn fill(&self, id: CommandId) {
        copy(self.data(id), self.spans(id));
    }

    /// Copies the pages to the request's data: after a read.
    pub(crate) fn empty(&self, id: CommandId) {
        copy(self.spans(id), self.data(id));
    }

    /// The request has ended, wherever it was.
    pub(crate) fn give_back(&mut self, id: CommandId) {
        if let Some(job) = self.jobs.get_mut(usize::from(id.slot())) {
            if job.pages.is_empty() {
                self.waiting.retain(|other| *other != id);
            }
            self.free.append(&mut job.pages);
            job.data.clear();
        }
    }

    fn data(&self, id: CommandId) -> impl Iterator<Item = Span> {
        self.jobs.get(usize::from(id.slot())).into_iter().flat_map(|job| job.data.iter().copied())
    }
}

/// The length of a request's memory.
fn bytes(data: &[Span]) -> u32 {
    data.iter().map(Span::len).fold(0, u32::saturating_add)
}

/// Copies from pieces to pieces that are cut elsewhere, up to the shorter end.
fn copy(from: impl Iterator<Item = Span>, mut to: impl Iterator<Item = Span>) {
    let mut room: Option<Span> = None;
    for mut source in from {
        while !source.is_empty() {
            let Some(target) = room.filter(|span| !span.is_empty()).or_else(|| to.next()) else { return };
            let len = source.len().min(target.len());
            let (now, later) = source.split_at(len);
            let (here, there) = target.split_at(len);
            now.copy_to(&here);
            (source, room) = (later, Some(there));
        }
    }
}

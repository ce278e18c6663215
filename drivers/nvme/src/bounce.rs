//! Bounce pages: memory for the data of requests whose own memory PRPs cannot describe.
//!
//! Path: beside the path: spans of a request -> **bounce pages** -> PRPs.
//!
//! Invariants
//! - Nothing is allocated after the queue pair was opened.
//! - A request waits while too few pages are free. Requests get pages in the order in which they came. There
//!   are enough for the largest transfer, so no request waits for ever.
//!
//! Not here: the decision to bounce (`queue_pair`), the count of bounced requests (`health`).

use crate::command::Command;
use crate::registers::PAGE_BYTES;
use crate::slots::CommandId;
use luge_memory::Span;
use std::collections::VecDeque;

/// Bounce pages, and the requests that have some or wait for some.
pub(crate) struct BouncePool {
    memory: Span,
    free: Vec<u16>,
    /// Jobs by slot. Their lists have their full capacity from the start.
    jobs: Box<[Job]>,
    waiting: VecDeque<CommandId>,
}

/// Pages, data and command of one request.
struct Job {
    pages: Vec<u16>,
    data: Vec<Span>,
    command: Option<Command>,
}

impl BouncePool {
    /// Makes a pool of the pages in `memory`, for `slots` requests of at most `pages_max` pages and `spans_max`
    /// spans.
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

    /// Number of requests that wait for pages.
    #[inline]
    pub(crate) fn waiting(&self) -> u16 {
        u16::try_from(self.waiting.len()).unwrap_or(u16::MAX)
    }

    /// Adds a request to those that wait for pages; `data` is within the limits of `new`.
    pub(crate) fn wait(&mut self, id: CommandId, data: &[Span], command: Command) {
        if let Some(job) = self.jobs.get_mut(usize::from(id.slot())) {
            job.data.extend_from_slice(data);
            job.command = Some(command);
            self.waiting.push_back(id);
        }
    }

    /// Gives the request that has waited longest its pages, and returns it; none while there are too few.
    pub(crate) fn next_ready(&mut self) -> Option<(CommandId, Command)> {
        let id = self.waiting.front().copied()?;
        let job = self.jobs.get_mut(usize::from(id.slot()))?;
        let needed = usize::try_from(bytes(&job.data).div_ceil(PAGE_BYTES)).ok()?;
        let left = self.free.len().checked_sub(needed)?;
        self.waiting.pop_front();
        job.pages.extend(self.free.drain(left..));
        Some((id, job.command?))
    }

    /// Pages of a request, together as long as its data.
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

    /// Copies the data of a request to its pages, before a write.
    pub(crate) fn fill(&self, id: CommandId) {
        copy(self.data(id), self.spans(id));
    }

    /// Copies the pages of a request to its data, after a read.
    pub(crate) fn empty(&self, id: CommandId) {
        copy(self.spans(id), self.data(id));
    }

    /// Frees the pages of a request that has ended, even if it still waited for them.
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

/// Length of a request's data in bytes.
fn bytes(data: &[Span]) -> u32 {
    data.iter().map(Span::len).fold(0, u32::saturating_add)
}

/// Copies the bytes of one list of spans to another, whose spans may have other lengths, up to the end of the
/// shorter list.
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

//! Buffers that an SSD can take, for requests whose own it cannot.
//!
//! Path: beside the path: spans of a request -> **bounce pages** -> PRPs.
//!
//! Invariants
//! - All memory, and all bookkeeping, exists since the queue pair was opened.
//! - There are pages for the largest transfer, so a request that finds none waits for
//!   another one that has them.
//!
//! Not here: who decides to bounce (`queue_pair`), who counts it (`health`).

use crate::registers::PAGE_BYTES;
use luge_memory::Span;

/// Requests of one queue pair that bounce at a time.
const JOBS: u16 = 32;

/// A request that bounces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct JobId(u16);

/// Bounce pages and the requests that have them.
pub(crate) struct BouncePool {
    memory: Span,
    free: Vec<u16>,
    jobs: Box<[Job]>,
    idle: Vec<JobId>,
}

/// What one request has. Both lists have their full capacity from the start.
#[derive(Clone)]
struct Job {
    pages: Vec<u16>,
    data: Vec<Span>,
}

impl BouncePool {
    /// Pages in `memory`, for requests of `pages_max` pages and `spans_max` spans at most.
    pub(crate) fn new(memory: Span, pages_max: u32, spans_max: u16) -> Self {
        let pages = u16::try_from(memory.len() / PAGE_BYTES).unwrap_or(u16::MAX);
        let capacity = usize::try_from(pages_max).unwrap_or(usize::MAX).min(pages.into());
        let job = || Job { pages: Vec::with_capacity(capacity), data: Vec::with_capacity(spans_max.into()) };
        Self {
            memory,
            free: (0..pages).rev().collect(),
            jobs: (0..JOBS).map(|_| job()).collect(),
            idle: (0..JOBS).rev().map(JobId).collect(),
        }
    }

    /// Pages for a request with that memory, of `bytes` in all; none while others have them.
    pub(crate) fn take(&mut self, data: &[Span], bytes: u32) -> Option<JobId> {
        let pages = usize::try_from(bytes.div_ceil(PAGE_BYTES)).ok()?;
        let left = self.free.len().checked_sub(pages)?;
        let id = self.idle.last().copied()?;
        let job = self.jobs.get_mut(usize::from(id.0))?;
        if pages > job.pages.capacity() || data.len() > job.data.capacity() {
            return None;
        }
        self.idle.pop();
        job.pages.extend(self.free.drain(left..));
        job.data.extend_from_slice(data);
        Some(id)
    }

    /// The job's pages, as long as its data is.
    pub(crate) fn spans(&self, id: JobId) -> impl Iterator<Item = Span> {
        let job = self.jobs.get(usize::from(id.0));
        let mut left: u32 = job.map_or(0, |job| job.data.iter().map(Span::len).fold(0, u32::saturating_add));
        let memory = self.memory;
        job.into_iter().flat_map(|job| &job.pages).filter_map(move |&page| {
            let len = left.min(PAGE_BYTES);
            left = left.saturating_sub(len);
            memory.slice(u32::from(page).saturating_mul(PAGE_BYTES), len)
        })
    }

    /// Copies the request's data into the pages: before a write.
    pub(crate) fn fill(&self, id: JobId) {
        copy(self.data(id), self.spans(id));
    }

    /// Copies the pages to the request's data: after a read.
    pub(crate) fn empty(&self, id: JobId) {
        copy(self.spans(id), self.data(id));
    }

    /// The request has ended.
    pub(crate) fn give_back(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(usize::from(id.0)) {
            self.free.append(&mut job.pages);
            job.data.clear();
            self.idle.push(id);
        }
    }

    fn data(&self, id: JobId) -> impl Iterator<Item = Span> {
        self.jobs.get(usize::from(id.0)).into_iter().flat_map(|job| job.data.iter().copied())
    }
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

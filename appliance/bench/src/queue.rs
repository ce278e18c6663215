//! Contracts between the loop and a protocol: a queue, and the disk that it is of.

use crate::error::BenchError;
use luge_memory::Span;

/// Requests reaped at once, whose lines are brought near together.
pub(crate) const BATCH: usize = 64;

/// A transfer: its direction and its first sector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) writes: bool,
    pub(crate) sector: u64,
}

/// A request that was answered.
#[derive(Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) slot: u16,
    /// Zero for success, else as the protocol numbers them.
    pub(crate) status: u16,
    pub(crate) writes: bool,
    /// Tick at which it was submitted or due.
    pub(crate) submitted: u64,
}

/// Numbers of notifications so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Notices {
    pub(crate) kicks: u64,
    pub(crate) interrupts: u64,
}

/// A queue and its slots. Calls are generic, not dynamic: the compiler sees through them.
pub(crate) trait Queue {
    /// Number of slots.
    fn depth(&self) -> u16;

    /// Data of a slot.
    fn data(&self, slot: u16) -> Span;

    /// First sector of a slot's request.
    fn sector(&self, slot: u16) -> u64;

    /// Number of requests not yet answered.
    fn in_flight(&self) -> usize;

    /// Notifications so far.
    fn notices(&mut self) -> Notices;

    /// Puts a request into the queue; [`Self::publish`] shows it to the server.
    fn submit(&mut self, slot: u16, transfer: Transfer, now: u64);

    /// Shows all submitted requests to the server; returns whether there were any.
    fn publish(&mut self) -> bool;

    /// Takes answered requests; returns their number.
    ///
    /// # Errors
    /// A sentence about an answer that nobody asked for.
    fn reap(&mut self, done: &mut [Done; BATCH]) -> Result<usize, String>;

    /// Name of a status.
    fn status(status: u16) -> String;
}

/// A disk that is connected. Its queues are kept beside it, and dropped before it.
pub(crate) trait Disk {
    /// Kind of its queues.
    type Queue: Queue;

    /// Number of its sectors.
    fn sectors(&self) -> u64;

    /// The process that serves it, where it is visible.
    fn peer(&self) -> Option<i32>;

    /// Times that its server has gone and come back.
    fn reconnects(&self) -> u64 {
        0
    }

    /// Looks whether its server is there, and connects again if it is not and that is wanted; returns whether it was
    /// gone.
    ///
    /// # Errors
    /// The server is gone for good.
    fn check(&mut self, queues: &[Self::Queue]) -> Result<bool, BenchError>;
}

/// A disk with its queues.
pub(crate) struct Connected<D: Disk> {
    pub(crate) disk: D,
    pub(crate) queues: Vec<D::Queue>,
}

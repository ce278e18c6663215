//! Stage of an I/O queue pair, which its channel (on a core) and the supervisor share.
//!
//! Path: one load per submit and poll.
//!
//! ```text
//!              fault, or shutdown      the SSD accesses no memory
//!   1 Running --------------------> 2 Halted ------------------> 3 Quiet
//!      ^                                                            | the channel has ended
//!      |              the queue pair exists again                   v all with Aborted
//!      +------------------------------------------------------- 4 Drained
//!
//!   5 Gone: from any of them, once the SSD accesses no memory and was given up
//! ```
//!
//! Only the channel goes from 3 to 4; the supervisor takes all other steps. So the queue pair is not created
//! again before its channel has seen 3, after which it rings no doorbell.
//!
//! Invariants
//! - No request ends in 2: the SSD may still write to its memory.
//!
//! Not here: the work of a channel in each stage (`queue_pair`), resets (`recovery`).

use crate::queue_memory::QueueMemory;
use luge_block::CoreId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Identifier of an I/O queue pair; zero is that of the admin queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub(crate) struct QueueId(pub u16);

/// Stage of a queue pair, numbered as above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Stage {
    Running = 1,
    Halted = 2,
    Quiet = 3,
    Drained = 4,
    Gone = 5,
}

/// Queue pair, as channel and supervisor share it.
#[repr(align(64))]
pub(crate) struct Link {
    stage: AtomicU32,
    pub id: QueueId,
    /// Core of the channel.
    pub core: CoreId,
    pub memory: Arc<QueueMemory>,
}

impl Link {
    /// Makes the link of a queue pair that has just been created.
    pub(crate) fn new(id: QueueId, core: CoreId, memory: Arc<QueueMemory>) -> Self {
        Self { stage: AtomicU32::new(Stage::Running as u32), id, core, memory }
    }

    /// Current stage.
    #[inline]
    pub(crate) fn stage(&self) -> Stage {
        // Acquire: after Quiet or Gone, the memory is seen as the SSD left it; after Drained or Running,
        // the rings are seen as the other side reset them.
        match self.stage.load(Ordering::Acquire) {
            1 => Stage::Running,
            2 => Stage::Halted,
            3 => Stage::Quiet,
            4 => Stage::Drained,
            _ => Stage::Gone,
        }
    }

    /// 1 to 2: the channel takes no requests, and ends none.
    pub(crate) fn halt(&self) {
        self.step(Stage::Running, Stage::Halted);
    }

    /// 2 to 3: the SSD accesses no memory.
    pub(crate) fn quiet(&self) {
        self.step(Stage::Halted, Stage::Quiet);
    }

    /// 3 to 4: the channel has ended everything, and rings no doorbell until 1.
    pub(crate) fn drained(&self) {
        self.step(Stage::Quiet, Stage::Drained);
    }

    /// 4 to 1: the queue pair exists again.
    pub(crate) fn revive(&self) {
        self.step(Stage::Drained, Stage::Running);
    }

    /// To 5: the SSD accesses no memory any more.
    pub(crate) fn give_up(&self) {
        self.stage.store(Stage::Gone as u32, Ordering::Release);
    }

    fn step(&self, from: Stage, to: Stage) {
        // Release: pairs with the Acquire in `stage`. In another stage, the step does not apply.
        let _ = self.stage.compare_exchange(from as u32, to as u32, Ordering::Release, Ordering::Relaxed);
    }
}

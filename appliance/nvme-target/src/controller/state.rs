//! All that a host can see of a controller, as plain data.

use super::error_log::ErrorLog;
use super::events::Events;
use super::features::Features;
use super::limits::ControllerConfig;
use super::registers::Registers;
use super::reservation_log::ReservationNotices;
use crate::ids::QueueId;
use crate::queues::{QueueLayout, QueuePages, ShadowLayout};
use crate::session::Rules;
use luge_memory::GuestAddress;
use luge_spec::nvme::{Configuration, ControllerStatus, IoOpcode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Phase in the life of a controller. `lifecycle` has the diagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Phase {
    /// Disabled.
    #[default]
    Disabled,
    /// Enabled.
    Ready,
    /// Waits for commands in flight, to be disabled.
    Resetting,
}

/// Progress of a shutdown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum ShutdownPhase {
    /// None was notified.
    #[default]
    None,
    /// Commands in flight, or caches, are waited for.
    Occurring,
    /// Complete.
    Complete,
}

/// A completion queue, as its host created it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CompletionQueueState {
    /// Address of the first entry, or of a PRP list.
    pub base: u64,
    /// Number of entries.
    pub entries: u32,
    /// PC: whether the entries lie side by side.
    pub is_contiguous: bool,
    /// Interrupt vector; none without interrupts.
    pub vector: Option<u16>,
}

/// A submission queue, as its host created it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SubmissionQueueState {
    /// Address of the first entry, or of a PRP list.
    pub base: u64,
    /// Number of entries.
    pub entries: u32,
    /// PC: whether the entries lie side by side.
    pub is_contiguous: bool,
    /// Completion queue that it feeds.
    pub completion_queue: u16,
}

/// All that a host can see of a controller.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ControllerState {
    /// Registers that the host can write.
    pub registers: Registers,
    /// Phase of its life.
    pub phase: Phase,
    /// Progress of a shutdown.
    pub shutdown: ShutdownPhase,
    /// CSTS.CFS: whether there was an error that only a reset ends.
    pub is_failed: bool,
    /// Completion queues, the admin queue among them.
    pub completion_queues: BTreeMap<u16, CompletionQueueState>,
    /// Submission queues, the admin queue among them.
    pub submission_queues: BTreeMap<u16, SubmissionQueueState>,
    /// Addresses of doorbells and event indices in guest memory.
    pub shadow: Option<[u64; 2]>,
    /// Values of features.
    pub features: Features,
    /// Asynchronous events.
    pub events: Events,
    /// Error log.
    pub errors: ErrorLog,
    /// Notifications of reservations.
    pub reservation_notices: ReservationNotices,
}

impl CompletionQueueState {
    pub(crate) fn layout(&self, id: QueueId) -> QueueLayout {
        layout(id, self.base, self.entries, self.is_contiguous)
    }
}

impl SubmissionQueueState {
    pub(crate) fn layout(&self, id: QueueId) -> QueueLayout {
        layout(id, self.base, self.entries, self.is_contiguous)
    }
}

fn layout(id: QueueId, base: u64, entries: u32, is_contiguous: bool) -> QueueLayout {
    let pages = if is_contiguous { QueuePages::Contiguous } else { QueuePages::Listed };
    QueueLayout { id, base: GuestAddress(base), entries, pages }
}

impl ControllerState {
    /// CC.
    pub(crate) fn configuration(&self) -> Configuration {
        Configuration(self.registers.configuration)
    }

    /// CSTS.
    pub(super) fn status(&self) -> u32 {
        let bit = |set: bool, bit: u32| if set { bit } else { 0 };
        let shutdown = match self.shutdown {
            ShutdownPhase::None => 0,
            ShutdownPhase::Occurring => 1,
            ShutdownPhase::Complete => 2,
        };
        bit(self.phase != Phase::Disabled, ControllerStatus::READY)
            | bit(self.is_failed, ControllerStatus::FATAL)
            | shutdown << 2
    }

    /// Whether commands are served.
    pub(crate) fn serves(&self) -> bool {
        self.phase == Phase::Ready && self.shutdown == ShutdownPhase::None && !self.is_failed
    }

    /// Properties by which sessions read commands.
    pub(crate) fn rules(&self, config: &ControllerConfig) -> Rules {
        Rules {
            page_bytes: self.configuration().page_bytes(),
            transfer_bytes_max: config.transfer_bytes,
            durability: self.features.durability(),
            burst: self.features.burst(),
            submission_queues_max: config.io_queues,
            dataset_management: config.has_io(IoOpcode::DATASET_MANAGEMENT),
        }
    }

    /// Layouts of the submission queues of a completion queue.
    pub(super) fn submissions_of(&self, completion_queue: QueueId) -> Vec<QueueLayout> {
        let of_it = |(_, queue): &(&u16, &SubmissionQueueState)| queue.completion_queue == completion_queue.0;
        self.submission_queues.iter().filter(of_it).map(|(&id, queue)| queue.layout(QueueId(id))).collect()
    }

    /// Addresses of the shadow doorbells.
    pub(super) fn shadow_layout(&self) -> Option<ShadowLayout> {
        let [doorbells, events] = self.shadow?.map(GuestAddress);
        Some(ShadowLayout { doorbells, events })
    }
}

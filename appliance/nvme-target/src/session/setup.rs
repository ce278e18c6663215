//! Parts of a session, prepared by the controller's thread: a core allocates nothing and looks nothing up.

use super::command_memory::CommandMemory;
use crate::data::BitBucket;
use crate::ids::QueueId;
use crate::namespaces::Namespaces;
use crate::queues::{
    Coalescing, CompletionQueue, DoorbellPages, QueueLayout, QueueMemory, QueueMemoryError, ShadowDoorbells,
    SubmissionQueue,
};
use crate::relay::Relay;
use luge_block::Durability;
use luge_core::{Call, Kick};
use luge_memory::{AddressRanges, GuestMemory};
use std::sync::Arc;

/// Commands that a session serves itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// None: every command goes to the controller's thread. For the admin queues.
    Admin,
    /// Commands of the NVM command set that a volume does.
    Io,
}

/// Properties of a controller by which sessions read commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Size of a memory page in bytes, as CC.MPS says.
    pub page_bytes: u32,
    /// MDTS: the most data of a command, in bytes.
    pub transfer_bytes_max: u32,
    /// Durability of writes that do not ask for one.
    pub durability: Durability,
    /// Commands that are taken of a submission queue before the next one has its turn (Arbitration Burst).
    pub burst: u32,
    /// The most submission queues of a completion queue.
    pub submission_queues_max: u16,
    /// Whether there is Dataset Management. A device that cannot deallocate takes it as a hint.
    pub dataset_management: bool,
}

/// A new completion queue.
pub struct CompletionQueueSetup {
    /// Place and size.
    pub layout: QueueLayout,
    /// Interrupt vector; none for a queue without interrupts, or whose vector is not connected.
    pub interrupt: Option<Call>,
    /// Number and time for which interrupts may wait.
    pub coalescing: Coalescing,
}

/// Parts of a new session.
pub struct SessionSetup {
    /// Completion queue.
    pub completion_queue: CompletionQueueSetup,
    /// Commands that it serves.
    pub service: Service,
    /// Properties of the controller.
    pub rules: Rules,
    /// Memory of the host.
    pub memory: Arc<GuestMemory>,
    /// Doorbells of the controller.
    pub doorbells: Arc<DoorbellPages>,
    /// Doorbells in guest memory, which count instead of the registers after Doorbell Buffer Config.
    pub shadow: Option<ShadowDoorbells>,
    /// Namespaces on the session's core.
    pub namespaces: Arc<Namespaces>,
    /// Memory for data that the host does not want.
    pub bit_bucket: BitBucket,
    /// Way to the controller's thread.
    pub relay: Arc<Relay>,
    /// Eventfd by which the controller's thread wakes the core after it has stored a doorbell.
    pub kick: Option<Kick>,
}

/// A new submission queue, whose memory was found.
pub struct SubmissionQueueSetup {
    pub(crate) layout: QueueLayout,
    pub(crate) memory: QueueMemory<8>,
}

impl SubmissionQueueSetup {
    /// Finds the memory of a queue.
    ///
    /// # Errors
    /// [`QueueMemoryError`].
    pub fn find(
        layout: QueueLayout,
        rules: &Rules,
        memory: &Arc<GuestMemory>,
    ) -> Result<Self, QueueMemoryError> {
        Ok(Self { layout, memory: SubmissionQueue::find(&layout, rules.page_bytes, memory)? })
    }
}

/// Guest memory that a table has and the next one has not.
#[derive(Clone)]
pub struct GoneMemory {
    before: Arc<GuestMemory>,
    addresses: Arc<AddressRanges>,
}

impl GoneMemory {
    /// Memory that goes when `table` takes the place of `before`.
    #[must_use]
    pub fn between(before: &Arc<GuestMemory>, table: &GuestMemory) -> Self {
        Self { before: before.clone(), addresses: Arc::new(table.addresses_gone_since(before)) }
    }

    /// Addresses that go, where the table before is `table`.
    pub(super) fn addresses(&self, table: &Arc<GuestMemory>) -> Option<&AddressRanges> {
        self.is_of(table).then_some(&self.addresses)
    }

    /// Whether the table before is `table`.
    #[must_use]
    pub fn is_of(&self, table: &Arc<GuestMemory>) -> bool {
        Arc::ptr_eq(&self.before, table)
    }
}

/// Guest memory of a session, with the places of its queues there.
pub struct SessionMemory {
    pub(crate) table: Arc<GuestMemory>,
    pub(crate) completion: Option<QueueMemory<2>>,
    pub(crate) submissions: Vec<(QueueId, Option<QueueMemory<8>>)>,
    /// Memory that goes with the table before.
    pub(super) gone: Option<GoneMemory>,
    /// Place for the notes of a session that has none.
    pub(super) command_memory: Option<Box<CommandMemory>>,
    /// Bits of slots with commands that use the memory before.
    pub(super) users: Box<[u64]>,
}

impl SessionMemory {
    /// Finds the queues of a session in another table of guest memory. A queue that is not there any more rests.
    #[must_use]
    pub fn find(
        completion: &QueueLayout,
        submissions: &[QueueLayout],
        rules: &Rules,
        table: Arc<GuestMemory>,
    ) -> Self {
        let page_bytes = rules.page_bytes;
        let submission =
            |layout: &QueueLayout| (layout.id, SubmissionQueue::find(layout, page_bytes, &table).ok());
        Self {
            completion: CompletionQueue::find(completion, page_bytes, &table).ok(),
            submissions: submissions.iter().map(submission).collect(),
            table,
            gone: None,
            command_memory: None,
            users: vec![0; completion.entries.div_ceil(64) as usize].into_boxed_slice(),
        }
    }

    /// Names the memory that goes: commands in flight that do not use it are not waited for.
    #[must_use]
    pub fn without(self, gone: GoneMemory) -> Self {
        Self { gone: Some(gone), ..self }
    }

    /// Gives the session a place for notes on the memory of its commands, of which there are `slots` at most.
    #[must_use]
    pub fn with_notes(self, slots: usize) -> Self {
        Self { command_memory: Some(Box::new(CommandMemory::new(slots))), ..self }
    }
}

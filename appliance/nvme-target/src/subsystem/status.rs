//! Present status of namespaces and controllers, for the operator.

use super::identity::NamespaceIdentity;
use crate::ids::{NamespaceId, QueueId};
use luge_block::{CoreId, Geometry};
use luge_volume::Volume;
use std::sync::Arc;

/// A namespace of a subsystem.
#[derive(Clone)]
pub struct NamespaceStatus {
    /// Identifier.
    pub id: NamespaceId,
    /// Name of the volume.
    pub name: Arc<str>,
    /// The volume.
    pub volume: Arc<Volume>,
    /// Globally unique identifiers.
    pub identity: NamespaceIdentity,
    /// Size, limits and abilities that hosts are told.
    pub geometry: Geometry,
}

/// Phase in the life of a controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ControllerPhase {
    /// Disabled.
    #[default]
    Disabled,
    /// Serves commands.
    Ready,
    /// Waits for commands in flight to end, before a reset or a shutdown is complete.
    Stopping,
    /// Shut down by its host.
    ShutDown,
    /// Failed (CSTS.CFS): its host has to reset it.
    Failed,
}

/// A queue pair, or a submission queue, of a controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueStatus {
    /// Identifier of the submission queue.
    pub id: QueueId,
    /// Completion queue that it feeds.
    pub completion_queue: QueueId,
    /// Entries of the submission queue.
    pub entries: u32,
    /// Core that serves it.
    pub core: CoreId,
}

/// A controller: one for each client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllerStatus {
    /// CNTLID.
    pub id: u16,
    /// Listener that its client uses.
    pub listener: Arc<str>,
    /// Ordinal of the client's connection on the listener, from 1.
    pub connection: u64,
    /// Phase in its life.
    pub phase: ControllerPhase,
    /// Submission queues, the admin queue first.
    pub queues: Vec<QueueStatus>,
    /// Host identifier that the host has set; zeroes where it has not.
    pub host_id: [u8; 16],
}

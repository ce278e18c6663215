//! Errors of subsystems.

use super::config::SubsystemConfig;
use crate::ids::NamespaceId;
use luge_core::AttachError;
use luge_memory::MemoryError;
use thiserror::Error;

/// Reason why a subsystem cannot be made or changed. Nothing has changed then.
#[derive(Debug, Error)]
pub enum SubsystemError {
    /// A serial or model number.
    #[error("'{text}' is no {what}: it has 1 to {max} printable ASCII characters")]
    Text {
        /// Kind of text.
        what: &'static str,
        /// The text.
        text: String,
        /// Most characters.
        max: usize,
    },
    /// An impossible number of namespaces.
    #[error("{0} namespaces are not possible: a subsystem has 1 to {max}", max = SubsystemConfig::NAMESPACES_MAX)]
    NamespacesMax(u32),
    /// Identifiers of controllers that cannot be.
    #[error(
        "controller identifiers {first} to {last} are not possible: they are from 1 to {max}",
        max = SubsystemConfig::CONTROLLER_ID_MAX
    )]
    ControllerIds {
        /// Smallest identifier.
        first: u16,
        /// Largest identifier.
        last: u16,
    },
    /// No core to serve it.
    #[error("a subsystem needs at least one core")]
    NoCores,
    /// No memory for data that hosts do not want.
    #[error("no memory for a subsystem: {0}")]
    Memory(#[from] MemoryError),
    /// An identifier of a namespace that cannot be.
    #[error("namespace identifier {id} is not possible: those of this subsystem are 1 to {max}")]
    NamespaceId {
        /// The identifier.
        id: NamespaceId,
        /// Largest identifier.
        max: u32,
    },
    /// The identifier of another namespace.
    #[error("namespace {0} exists already: remove it first, or use another identifier")]
    NamespaceExists(NamespaceId),
    /// No identifier is free.
    #[error("all {0} namespaces of the subsystem are in use: remove one first")]
    Full(u32),
    /// No such namespace.
    #[error("there is no namespace {0}")]
    NoNamespace(NamespaceId),
    /// A size of block that NVMe does not have.
    #[error("a volume with blocks of {0} bytes cannot be a namespace: 512 to 65536 bytes are possible")]
    BlockBytes(u32),
    /// The volume cannot be opened on a core.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// No core can serve all namespaces.
    #[error(
        "no core can serve this namespace together with the others: their SSDs have queue pairs left on different \
         cores; use fewer cores (-m), or another subsystem"
    )]
    NoCommonCore,
    /// A core with queues of a controller cannot serve the namespace.
    #[error(
        "core {0} cannot serve this namespace, because its SSD has no queue pair left there, and has queues of a \
         controller: disconnect the clients first"
    )]
    CoreInUse(u16),
}

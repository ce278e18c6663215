//! Descriptions of subsystems and namespaces.

use super::identity::{NamespaceIdentity, Nqn};
use crate::ids::NamespaceId;
use luge_core::CoreHandle;
use luge_memory::DmaSpace;
use luge_volume::Volume;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Description of a subsystem.
pub struct SubsystemConfig {
    /// Name.
    pub nqn: Nqn,
    /// Serial number: at most 20 printable ASCII characters.
    pub serial: String,
    /// Model number: at most 40 printable ASCII characters.
    pub model: String,
    /// Whether hosts that are not named may use it. Clients of a socket name no host.
    pub allow_any_host: bool,
    /// Largest identifier of a namespace (NN): 1 to [`SubsystemConfig::NAMESPACES_MAX`].
    pub namespaces_max: u32,
    /// Identifiers of its controllers: from 1 to 65519.
    pub controller_ids: RangeInclusive<u16>,
    /// Cores that may serve its namespaces.
    pub cores: Vec<CoreHandle>,
    /// Address space of the SSDs.
    pub space: Arc<DmaSpace>,
}

impl SubsystemConfig {
    /// Most namespaces of a subsystem.
    pub const NAMESPACES_MAX: u32 = 1024;
    /// Largest identifier of a controller.
    pub const CONTROLLER_ID_MAX: u16 = 0xffef;
}

/// Description of a namespace.
pub struct NamespaceConfig {
    /// Identifier; none for the first that is free.
    pub id: Option<NamespaceId>,
    /// Volume that has its blocks.
    pub volume: Arc<Volume>,
    /// Name of the volume, for the operator.
    pub name: String,
    /// Globally unique identifiers.
    pub identity: NamespaceIdentity,
}

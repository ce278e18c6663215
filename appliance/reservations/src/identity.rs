//! The name of a registrant.

/// Ports of an initiator to which a registration applies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// All: in NVMe, a host has one registration for all its controllers.
    Host,
    /// One: in SCSI, each I_T nexus has its own.
    Nexus(u64),
}

/// Name of a registrant. It outlives connections, so that its owner finds its registration again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// Identifier of the initiator: in NVMe the host identifier; one of 64 bits is extended by zeroes.
    pub host: u128,
    /// Ports of the initiator.
    pub scope: Scope,
}

impl Identity {
    /// The NVMe host with that identifier.
    #[must_use]
    pub const fn nvme(host: u128) -> Self {
        Self { host, scope: Scope::Host }
    }
}

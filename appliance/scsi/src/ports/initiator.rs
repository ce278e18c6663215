//! An initiator: the guest of one adapter.

use super::group::{Member, PortGroup};
use super::port::Port;
use crate::gate::Gate;
use luge_reservations::{Identity, Receipt, Scope};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Owner of an initiator's nexuses. Nothing that it does waits.
pub trait UnitListener: Send + Sync {
    /// Takes note that a unit has another view. The receipt is dropped when all cores serve it by that.
    fn view_changed(&self, receipt: Receipt);

    /// Takes note that another initiator has reset a unit.
    fn unit_reset(&self, reset: UnitReset);

    /// Takes note that a change is over, for which a command has waited. Called from any thread.
    fn change_over(&self);
}

/// Reset of a unit by one of its initiators, as the owner of another one's nexus is told.
pub struct UnitReset {
    /// Number of the target that the nexus belongs to.
    pub target: u8,
    /// Gate of the nexus, by which its owner finds it.
    pub gate: Arc<Gate>,
    /// Receipt that is dropped when all commands of the nexus have ended.
    pub receipt: Receipt,
}

/// Description of an initiator.
pub struct InitiatorConfig {
    /// Name of the endpoint. Reservations know the initiator by it.
    pub name: String,
    /// Group of the ports that it is connected to.
    pub group: Arc<PortGroup>,
    /// Owner of its nexuses.
    pub listener: Arc<dyn UnitListener>,
}

/// The guest of one adapter.
pub struct Initiator {
    /// Name in reservations.
    host: u128,
    member: Arc<Member>,
    group: Arc<PortGroup>,
    listener: Arc<dyn UnitListener>,
    /// Ports by the numbers of their targets.
    ports: Mutex<BTreeMap<u8, Arc<Port>>>,
}

impl Initiator {
    /// An initiator that is not live.
    #[must_use]
    pub fn new(config: InitiatorConfig) -> Self {
        let InitiatorConfig { name, group, listener } = config;
        let (host, member) = (identity_hash(name.as_bytes()), group.join());
        Self { host, member, group, listener, ports: Mutex::default() }
    }

    /// Takes note that the guest is there: its queues run.
    pub fn set_live(&self) {
        self.group.set_live(&self.member);
    }

    /// Group of the ports that it is connected to.
    #[must_use]
    pub const fn group(&self) -> &Arc<PortGroup> {
        &self.group
    }

    /// Port of a target. It keeps its number as long as the initiator is there.
    #[must_use]
    pub fn port(&self, target: u8) -> Arc<Port> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.entry(target).or_insert_with(|| Arc::new(Port::new(&self.group))).clone()
    }

    /// Name of the nexus with a target: the same after all restarts.
    pub(crate) const fn identity(&self, target: u8) -> Identity {
        Identity { host: self.host, scope: Scope::Nexus(target as u64) }
    }

    pub(crate) const fn listener(&self) -> &Arc<dyn UnitListener> {
        &self.listener
    }
}

/// Hash of a name: FNV-1a of 128 bits.
pub(crate) fn identity_hash(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

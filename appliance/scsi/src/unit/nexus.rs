//! A nexus: one way of an initiator to a logical unit.

use super::link::Link;
use super::logical_unit::LogicalUnit;
use crate::attention::{Attention, Attentions};
use crate::gate::Gate;
use crate::ports::{Initiator, StateObserver};
use luge_reservations::{Action, Change, Hold, NexusConfig, Port as ReservationPort, Waker};
use std::sync::{Arc, Weak};

/// Number of all SCSI targets in the ports of reservations.
pub(crate) const SCSI_TARGETS: u64 = 0;

/// A way of an initiator, through the port of a target, to a logical unit.
pub struct Nexus {
    pub(crate) unit: Arc<LogicalUnit>,
    pub(crate) link: Arc<Link>,
    reservations: luge_reservations::Nexus,
}

impl LogicalUnit {
    /// Adds a nexus: an initiator, and the number of the target through which it reaches the unit. The first command
    /// is told of the power-on.
    #[must_use]
    pub fn connect(self: &Arc<Self>, initiator: &Initiator, target: u8) -> Arc<Nexus> {
        let (port, attentions) = (initiator.port(target), Arc::<Attentions>::default());
        let config = NexusConfig {
            identity: Some(initiator.identity(target)),
            port: ReservationPort { target: SCSI_TARGETS, number: port.number() },
            listener: attentions.clone(),
        };
        let reservations = luge_reservations::Nexus::new(self.reservations(), config);
        let link = Arc::new(Link { target, port, attentions, listener: initiator.listener().clone() });
        link.attentions.raise(Attention::PowerOn);
        self.add_link(&link);
        let observer: Weak<dyn StateObserver> = Arc::downgrade(&(self.clone() as Arc<dyn StateObserver>));
        link.port.group().observe(observer);
        link.access_state();
        Arc::new(Nexus { unit: self.clone(), link, reservations })
    }
}

impl Nexus {
    /// The unit.
    #[must_use]
    pub const fn unit(&self) -> &Arc<LogicalUnit> {
        &self.unit
    }

    /// The word that cores load before they serve a command.
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate> {
        self.link.attentions.gate()
    }

    /// The nexus as reservations know it.
    #[must_use]
    pub const fn reservations(&self) -> &luge_reservations::Nexus {
        &self.reservations
    }

    /// Relative target port identifier of its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.link.port.number()
    }

    /// Takes note that its initiator has reset the logical unit. All initiators are told, a reservation by RESERVE ends,
    /// a stopped unit is started, mode parameters have their default values again. SAM-5, clause 6.3.3.
    ///
    /// The change is over when all cores serve the unit by these, and the commands of all other nexuses have ended. The
    /// caller ends those of this one.
    #[must_use]
    pub fn reset(&self) -> Change {
        if self.reservations.hold() != Hold::None {
            self.begin(Action::DropHold);
        }
        self.unit.reset(&self.link, self.waker())
    }

    /// Takes note that the nexus was lost. Its reservation by RESERVE ends.
    pub fn lost(&self) {
        self.end_hold();
        self.link.attentions.raise(Attention::NexusLoss);
    }

    /// Takes note that the guest has reset the adapter, or another guest has taken its place. Its reservation by
    /// RESERVE ends. A stopped unit is started: firmware does not start disks. Mode parameters have their default values
    /// again, unless other initiators use them.
    pub fn powered_on(&self) {
        self.end_hold();
        self.unit.start();
        self.link.attentions.raise(Attention::PowerOn);
        self.unit.restore_own_defaults(&self.link);
    }

    /// Takes note that the target has other LUNs.
    pub fn luns_changed(&self) {
        self.link.attentions.raise(Attention::LunsChanged);
    }

    /// Takes note that the initiator has read the LUNs of the target.
    pub fn luns_seen(&self) {
        self.link.attentions.clear(Attention::LunsChanged);
    }

    /// Whether the initiator has not been told of the last change of size.
    #[must_use]
    pub fn has_unseen_capacity(&self) -> bool {
        self.link.attentions.is_pending(Attention::CapacityChanged)
    }

    /// Function that tells the owner that a change is over.
    pub(crate) fn waker(&self) -> Waker {
        let listener = self.link.listener.clone();
        Arc::new(move || listener.change_over())
    }

    /// Ends the initiator's own reservation by RESERVE.
    fn end_hold(&self) {
        if self.reservations.hold() == Hold::Own {
            self.begin(Action::Unhold);
        }
    }

    /// Begins a change that nobody waits for.
    fn begin(&self, action: Action) {
        // Neither action is refused, and the change goes on by itself.
        drop(self.reservations.begin(action, Arc::new(|| {})));
    }
}

impl Drop for Nexus {
    fn drop(&mut self) {
        self.end_hold();
    }
}

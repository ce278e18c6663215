//! Features of reservations. Base 2.0, clauses 5.27.1.26 and 5.27.1.27.

use super::outcome::{INVALID_FIELD, INVALID_NAMESPACE, Outcome, Reply};
use crate::commands::CommandStatus;
use crate::controller::{Controller, Features};
use crate::ids::NamespaceId;
use luge_spec::nvme::reservation_notice;

/// PTPL: registrations persist through a loss of power.
const PERSISTS: u32 = 1 << 0;

impl Controller {
    /// Notifications of a namespace that are not sent.
    pub(super) fn reservation_mask(&self, features: &Features, namespace: u32) -> Result<u32, CommandStatus> {
        self.check_one(namespace)?;
        Ok(features.reservation_mask.get(&namespace).copied().unwrap_or(0))
    }

    pub(super) fn set_reservation_mask(&mut self, namespace: u32, mask: u32) -> Reply {
        if mask & !reservation_notice::MASK != 0 {
            return Err(INVALID_FIELD);
        }
        let namespaces = self.named(namespace)?;
        self.state.features.reservation_mask.extend(namespaces.into_iter().map(|id| (id, mask)));
        Ok(Outcome::DONE)
    }

    /// Whether registrations persist through a loss of power: never.
    pub(super) fn reservation_persistence(&self, namespace: u32) -> Result<u32, CommandStatus> {
        self.check_one(namespace).map(|()| 0)
    }

    pub(super) fn set_reservation_persistence(&mut self, namespace: u32, cdw11: u32) -> Reply {
        self.named(namespace)?;
        if cdw11 & PERSISTS == 0 { Ok(Outcome::DONE) } else { Err(INVALID_FIELD) }
    }

    /// Checks that a value is asked for of one namespace.
    fn check_one(&self, namespace: u32) -> Result<(), CommandStatus> {
        match NamespaceId(namespace) {
            NamespaceId::ALL => Err(INVALID_FIELD),
            id if self.namespaces().contains_key(&id) => Ok(()),
            _ => Err(INVALID_NAMESPACE),
        }
    }

    /// Namespaces whose values are to be set: one, or all that are attached.
    fn named(&self, namespace: u32) -> Result<Vec<u32>, CommandStatus> {
        match NamespaceId(namespace) {
            NamespaceId::ALL => Ok(self.namespaces().keys().map(|id| id.0).collect()),
            id if self.namespaces().contains_key(&id) => Ok(vec![id.0]),
            _ => Err(INVALID_NAMESPACE),
        }
    }
}

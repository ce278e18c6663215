//! Excluded namespaces: those that could be used at bring-up and cannot be used at present.
//!
//! Path: none; channels see it through `parts`.
//!
//! Invariants
//! - Only the holder of the controller's lock excludes or admits a namespace; reading does not need that lock.
//!
//! Not here: their next examination (`examination`), the conditions for using one (`namespaces`, `format`).

use crate::format::{FormatError, NamespaceId, RefusedNamespace};
use crate::parts::{Availability, Parts};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Excluded namespaces, each with the reason.
pub(crate) struct Exclusion {
    reasons: Mutex<BTreeMap<NamespaceId, FormatError>>,
    /// The namespaces as channels see them.
    parts: Arc<Parts>,
}

impl Exclusion {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        Self { reasons: Mutex::default(), parts }
    }

    fn reasons(&self) -> MutexGuard<'_, BTreeMap<NamespaceId, FormatError>> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reason for which a namespace is excluded; none where it is not.
    pub(crate) fn reason(&self, id: NamespaceId) -> Option<FormatError> {
        self.reasons().get(&id).copied()
    }

    /// Whether a namespace has not been examined since a reset: its requests wait.
    pub(crate) fn has_waiting(&self) -> bool {
        self.reasons().values().any(|&reason| reason == FormatError::NotYetIdentified)
    }

    /// All excluded namespaces, in ascending order.
    pub(crate) fn list(&self) -> Vec<RefusedNamespace> {
        self.reasons().iter().map(|(&id, &reason)| RefusedNamespace { id, reason }).collect()
    }

    /// The first excluded namespace after `id`, or the first of all.
    pub(crate) fn next_after(&self, id: NamespaceId) -> Option<NamespaceId> {
        let reasons = self.reasons();
        reasons.keys().find(|&&other| other > id).or_else(|| reasons.keys().next()).copied()
    }

    /// Excludes a namespace or admits it, and logs changes.
    pub(crate) fn set(&self, controller: &str, id: NamespaceId, state: Result<(), FormatError>) {
        self.parts.set(
            id,
            match state {
                Ok(()) => Availability::Usable(id),
                // The namespace may be what it was: its requests wait.
                Err(FormatError::NotYetIdentified) => Availability::Waiting,
                Err(_) => Availability::Excluded,
            },
        );
        let before = match state {
            Ok(()) => self.reasons().remove(&id),
            Err(reason) => self.reasons().insert(id, reason),
        };
        match (before, state) {
            (Some(_), Ok(())) => tracing::warn!(controller, "namespace {id} can be used again"),
            (before, Err(reason)) if before != Some(reason) => {
                let refused = RefusedNamespace { id, reason };
                tracing::error!(controller, "{refused}: its requests fail, other namespaces serve");
            }
            _ => {}
        }
    }
}

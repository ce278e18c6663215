//! Namespaces that were found at bring-up and cannot be used since a reset.
//!
//! Path: none; what is decided here reaches the channels through `parts`.
//!
//! Invariants
//! - Whether a namespace is excluded is decided by the holder of the controller's lock; anybody may
//!   ask without it.
//! - An excluded namespace is asked again and again, one after another, and used as soon as it is
//!   what it was.
//!
//! Not here: what a namespace must be (`namespaces`, `format`), when it is asked (`recovery`).

use crate::Trouble;
use crate::controller::{Control, Inner};
use crate::format::{FormatError, NamespaceId, NamespaceInfo, RefusedNamespace};
use crate::namespaces::{Deadline, examine_again};
use crate::parts::{Access, Parts};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The excluded namespaces, each with the reason.
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

    /// Why a namespace is excluded, if it is.
    pub(crate) fn reason(&self, id: NamespaceId) -> Option<FormatError> {
        self.reasons().get(&id).copied()
    }

    /// Whether a namespace waits to be asked for: its requests wait, too.
    pub(crate) fn has_waiting(&self) -> bool {
        self.reasons().values().any(|&reason| reason == FormatError::NotYetIdentified)
    }

    /// All excluded namespaces, in ascending order.
    pub(crate) fn list(&self) -> Vec<RefusedNamespace> {
        self.reasons().iter().map(|(&id, &reason)| RefusedNamespace { id, reason }).collect()
    }

    /// The first excluded namespace after `id`, or the first of all.
    fn next_after(&self, id: NamespaceId) -> Option<NamespaceId> {
        let reasons = self.reasons();
        reasons.keys().find(|&&other| other > id).or_else(|| reasons.keys().next()).copied()
    }

    /// Excludes a namespace or admits it, and logs what is new.
    fn set(&self, controller: &str, id: NamespaceId, state: Result<(), FormatError>) {
        self.parts.set(
            id,
            match state {
                Ok(()) => Access::Usable(id),
                // It may well be what it was: its requests wait.
                Err(FormatError::NotYetIdentified) => Access::Waiting,
                Err(_) => Access::Excluded,
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

/// Asks for every namespace after a reset. Those for which the time does not suffice take no requests until
/// they have been asked for.
///
/// # Errors
/// [`Trouble::Changed`] where no namespace is what it was, since this is another SSD's content.
pub(crate) fn examine_all(inner: &Inner, control: &mut Control) -> Result<(), Trouble> {
    let deadline = Deadline::new(control.admin.patience());
    for known in &inner.namespaces.usable {
        let state = match deadline.has_passed() {
            true => Err(FormatError::NotYetIdentified),
            false => examine_again(&mut control.admin, &inner.discovery, known)?,
        };
        inner.exclusion.set(inner.registers.name(), known.id, state);
    }
    let changed = |known: &NamespaceInfo| inner.exclusion.reason(known.id) == Some(FormatError::Changed);
    let known = &inner.namespaces.usable;
    if !known.is_empty() && known.iter().all(changed) {
        return Err(Trouble::Changed("its namespaces went away, shrank or were formatted"));
    }
    Ok(())
}

/// Asks for the excluded namespace after `last`; returns which one that was. Trouble of the whole
/// controller is the supervisor's to see.
pub(crate) fn examine_next(inner: &Inner, control: &mut Control, last: NamespaceId) -> NamespaceId {
    let Some(id) = inner.exclusion.next_after(last) else { return last };
    let known = inner.namespaces.usable.iter().find(|known| known.id == id);
    let state = known.map(|known| examine_again(&mut control.admin, &inner.discovery, known));
    if let Some(Ok(state)) = state {
        inner.exclusion.set(inner.registers.name(), id, state);
    }
    id
}

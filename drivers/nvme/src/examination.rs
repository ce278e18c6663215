//! Examination of known namespaces: after a reset, and when the SSD reports that some have changed.
//!
//! Path: none; the supervisor, under the controller's lock.
//!
//! Invariants
//! - Excluded namespaces are examined again in rotation, and each is used as soon as it is what it was.
//!
//! Not here: the list of excluded namespaces (`exclusion`), the conditions for using one (`namespaces`, `format`).

use crate::ErrorKind;
use crate::control::{Control, Inner};
use crate::format::{FormatError, NamespaceId, NamespaceInfo};
use crate::namespaces::{Deadline, examine_again};

/// Examines every namespace after a reset. Requests of those that are not reached in time wait until they have
/// been examined.
///
/// # Errors
/// [`ErrorKind::Changed`] if no namespace is what it was: this is the content of another SSD.
pub(crate) fn examine_all(inner: &Inner, control: &mut Control) -> Result<(), ErrorKind> {
    let deadline = Deadline::new(control.admin.command_timeout());
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
        return Err(ErrorKind::Changed(
            "its namespaces went away, shrank, were formatted, or their atomic writes became smaller",
        ));
    }
    Ok(())
}

/// Examines the excluded namespace after `last`, or the first one; returns its identifier.
pub(crate) fn examine_next_excluded(inner: &Inner, control: &mut Control, last: NamespaceId) -> NamespaceId {
    let Some(id) = inner.exclusion.next_after(last) else { return last };
    let known = inner.namespaces.usable.iter().find(|known| known.id == id);
    known.into_iter().for_each(|known| examine_one(inner, control, known));
    id
}

/// Examines the namespace after `last`, or the first one; returns its identifier.
pub(crate) fn examine_next(inner: &Inner, control: &mut Control, last: NamespaceId) -> NamespaceId {
    let all = &inner.namespaces.usable;
    let Some(known) = all.iter().find(|known| known.id > last).or(all.first()) else { return last };
    examine_one(inner, control, known);
    known.id
}

/// Examines a namespace, and excludes or admits it. A failure of the whole controller is left to the supervisor,
/// which finds it in `health`.
fn examine_one(inner: &Inner, control: &mut Control, known: &NamespaceInfo) {
    if let Ok(state) = examine_again(&mut control.admin, &inner.discovery, known) {
        inner.exclusion.set(inner.registers.name(), known.id, state);
    }
}

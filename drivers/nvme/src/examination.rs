//! Asking for namespaces again after a reset.
//!
//! Path: none; the supervisor, under the controller's lock.
//!
//! Invariants
//! - An excluded namespace is asked for again and again, one after another, and used as soon as it is
//!   what it was.
//!
//! Not here: what is excluded (`exclusion`), what a namespace must be (`namespaces`, `format`).

use crate::Trouble;
use crate::control::{Control, Inner};
use crate::format::{FormatError, NamespaceId, NamespaceInfo};
use crate::namespaces::{Deadline, examine_again};

/// Asks for every namespace after a reset. Requests of those for which the time does not suffice wait until
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

/// Asks for the excluded namespace after `last`; returns its identifier. A failure of the whole controller is
/// left to the supervisor, which sees it in `health`.
pub(crate) fn examine_next(inner: &Inner, control: &mut Control, last: NamespaceId) -> NamespaceId {
    let Some(id) = inner.exclusion.next_after(last) else { return last };
    let known = inner.namespaces.usable.iter().find(|known| known.id == id);
    let state = known.map(|known| examine_again(&mut control.admin, &inner.discovery, known));
    if let Some(Ok(state)) = state {
        inner.exclusion.set(inner.registers.name(), id, state);
    }
    id
}

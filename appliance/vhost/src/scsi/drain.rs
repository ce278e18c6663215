//! Token of whoever waits until requests have ended, or until nothing refers to a LUN.

use std::sync::Arc;

/// Token of whoever waits until requests have ended, or until nothing refers to a LUN: that is so when the waiter has
/// the only reference. Cores keep references and give them back, and never drop the last one.
#[derive(Debug, Default)]
pub struct Drain(());

impl Drain {
    /// Whether the waiter has the only reference.
    pub(super) fn is_over(token: &mut Arc<Self>) -> bool {
        // What happened before the other references were dropped is seen from here on.
        Arc::get_mut(token).is_some()
    }
}

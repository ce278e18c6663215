//! Token of whoever waits until requests have ended, or until nothing refers to a LUN.

/// Token of whoever waits until requests have ended, or until nothing refers to a LUN: that is so when the waiter has
/// the only reference. Cores keep references and give them back, and never drop the last one.
#[derive(Debug, Default)]
pub struct Drain(());

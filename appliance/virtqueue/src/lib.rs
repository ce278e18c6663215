//! Virtqueues, device side: takes descriptor chains, returns used elements.

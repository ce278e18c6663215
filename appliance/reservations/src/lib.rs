//! Persistent reservations of a volume: registrants, the holder, and who may read and write.
//!
//! Invariant: the state is kept with its volume, once, for every protocol that serves it.
//!
//! Not here: the commands of a protocol, and the text of its reports (`nvme-target`).

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects))]

//! The vfio-user protocol, server side: an emulated PCI function on a unix socket.
//!
//! Path: none; a client's messages set up what the sessions of a function use.
//!
//! Not here: the function itself (`nvme-target`).

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects))]

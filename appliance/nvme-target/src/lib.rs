//! The emulated NVMe controller: a subsystem of namespaces, and controllers that serve them.
//!
//! Path: guest queue -> **session** -> volume -> channel -> NVMe queue pair -> SSD.
//!
//! Not here: the protocol that carries registers and memory (`vfio-user`).

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects))]

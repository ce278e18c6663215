//! The PCI function of a controller, and the source of functions for a socket.
//!
//! ```text
//!   connection --regions, vectors, memory--> NvmeFunction --registers, doorbells--> Controller
//!   sessions   --bell--> NvmeFunction::on_event --relayed commands--> Controller
//! ```
//!
//! Not here: the protocol of the connection (`luge_vfio_user`).

mod absent;
mod config_space;
mod layout;
mod listener;
mod msix;
mod nvme;

pub use listener::{Listener, ListenerConfig, ListenerError};

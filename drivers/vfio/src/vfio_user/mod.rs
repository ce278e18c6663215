//! A vfio-user client: a PCI function that another process emulates, by messages on a unix socket.
//!
//! Path: NVMe queue pair -> **doorbell** -> controller in another process. Queues and data are shared memory.
//!
//! - [`VfioUser`]: attaches functions (`open`), as [`luge_memory::PciFunction`]s (`function`).
//! - `bar`: registers by messages, doorbells by shared memory (`windows`), or by a thread where the server shares none
//!   (`relay`).
//! - `iommu`: the process's memory, announced to the server.
//! - `connection`, `socket`, `reply_time`: messages and replies, and the time that they may take. `calls` has the messages.
//!
//! Invariants
//! - The server is trusted with memory, because it gets it as files (`iommu`), and with nothing else: what it sends is
//!   checked, and bounded in time and bytes.
//! - A server that is lost reads as all ones. Requests in flight end when it has closed its end of the connection: until
//!   then it could still write to their memory.
//!
//! Not here: memory access by messages (DMA_READ, DMA_WRITE), migration.

mod bar;
mod calls;
mod connection;
mod error;
mod function;
mod iommu;
mod open;
mod relay;
mod reply_time;
mod socket;
mod windows;

pub use error::VfioUserError;
pub use open::{ServerSocket, VfioUser};

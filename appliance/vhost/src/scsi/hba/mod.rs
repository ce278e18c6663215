//! The host bus adapter: what it offers, its thread, and its LUNs.

mod attachment;
mod cancellation;
mod commands;
mod config;
mod device;
mod error;
mod events;
mod functions;
mod life;
mod notices;
mod resets;
mod sessions;
mod shared;
mod status;
mod tables;
mod thread;
mod waiting;
mod worker;

pub use config::{HbaConfig, REQUEST_QUEUES_MAX};
pub use device::ScsiHba;
pub use error::{HbaError, LunError};
pub use status::{LunPhase, LunStatus};

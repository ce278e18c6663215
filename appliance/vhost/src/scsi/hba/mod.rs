//! The host bus adapter: what it offers, its thread, and its LUNs.

mod config;
mod device;
mod error;
mod status;

pub use config::{HbaConfig, REQUEST_QUEUES_MAX};
pub use device::ScsiHba;
pub use error::{HbaError, LunError};
pub use status::{LunPhase, LunStatus};

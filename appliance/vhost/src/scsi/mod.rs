//! The SCSI host bus adapter (virtio 1.3, clause 5.6).
//!
//! ```text
//! request queue -> command -> volume
//!                          -> relay -> the adapter's thread -> a task on the core
//! control queue ------------> relay -> the adapter's thread -> a task on the core
//! ```

mod cancel;
mod control;
mod control_request;
mod decision;
mod drain;
mod events;
mod hba;
mod lun;
mod relay;
mod request;
mod response;
mod session;
mod table;

pub use cancel::{Cancelled, CancelledAs, Scope};
pub use control::{ControlReply, ControlSession};
pub use drain::Drain;
pub use events::{EVENTS_MAX, EventSession, PendingEvents};
pub use hba::{HbaConfig, HbaError, LunError, LunPhase, LunStatus, ScsiHba};
pub use lun::{LunAddress, LunPlace};
pub use relay::{
    CommandReply, DATA_OUT_MAX, Ended, Notification, NotificationAction, Relay, Relayed, RelayedCommand,
    RelayedId, RelayedRequest, SessionNumber, TaskFunction, TaskManagement,
};
pub use session::RequestSession;
pub use table::{LunEntry, LunTable};

//! Description of a host bus adapter.

use crate::device::QUEUES_MAX;
use luge_core::CoreHandle;
use luge_scsi::PortGroup;
use std::sync::Arc;

/// The most request queues of an adapter: its other two queues are those of control and events.
pub const REQUEST_QUEUES_MAX: u16 = QUEUES_MAX - 2;

/// Description of a host bus adapter.
pub struct HbaConfig {
    /// Name of the endpoint, for messages. Its initiator is known by it to reservations.
    pub name: String,
    /// Cores that can serve its queues. At most as many as there are request queues are used.
    pub cores: Vec<CoreHandle>,
    /// Number of request queues: 1 to 254.
    pub request_queues: u16,
    /// Group of the ports that its guest is connected to.
    pub group: Arc<PortGroup>,
}

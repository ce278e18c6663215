//! The adapter as a virtio device.

use super::{HbaConfig, HbaError, LunError, LunStatus, REQUEST_QUEUES_MAX};
use crate::device::{NewSession, QueueKind, VirtioDevice};
use crate::queue::{QueueError, QueueSetup};
use crate::scsi::lun::LunAddress;
use luge_block::CoreId;
use luge_core::CoreHandle;
use luge_scsi::LogicalUnit;
use luge_spec::virtio::Features;
use std::sync::Arc;

/// Number of queues that are no request queues.
const OTHER_QUEUES: u16 = 2;

/// A SCSI host bus adapter with up to 256 targets of up to 256 LUNs each. It is dropped after its endpoint.
pub struct ScsiHba {
    config: HbaConfig,
}

impl ScsiHba {
    /// Makes an adapter without LUNs, and starts its thread.
    ///
    /// # Errors
    /// [`HbaError`]; nothing is kept then.
    pub fn open(config: HbaConfig) -> Result<Self, HbaError> {
        if !(1..=REQUEST_QUEUES_MAX).contains(&config.request_queues) {
            return Err(HbaError::Queues(config.request_queues));
        }
        if config.cores.is_empty() {
            return Err(HbaError::NoCores);
        }
        Ok(Self { config })
    }

    /// Adds a LUN, of which the guest is told. Blocks while devices open queues.
    ///
    /// # Errors
    /// [`LunError`]; nothing has changed then.
    pub fn add_lun(&self, address: LunAddress, _unit: Arc<LogicalUnit>) -> Result<(), LunError> {
        Err(LunError::Stopping(address))
    }

    /// Removes a LUN, of which the guest is told. Blocks until nothing refers to it: as long as the slowest SSD takes.
    /// If it is being removed already, waits for that.
    ///
    /// # Errors
    /// [`LunError`].
    pub fn remove_lun(&self, address: LunAddress) -> Result<(), LunError> {
        Err(LunError::Absent(address))
    }

    /// All LUNs, in the order of their addresses. Does not wait for cores.
    #[must_use]
    pub fn luns(&self) -> Vec<LunStatus> {
        Vec::new()
    }

    /// Tells the guest that the volume of a unit has another size, which the cores of the process serve by now. Does not
    /// wait for cores. [`LogicalUnit`] is told by the caller, once for all adapters.
    pub fn resized(&self, _unit: &Arc<LogicalUnit>) {}

    /// Detaches a unit whose device has gone for good. Returns at once; the LUN goes when its last requests have ended.
    pub fn unit_gone(&self, _unit: &Arc<LogicalUnit>) {}
}

impl VirtioDevice for ScsiHba {
    fn features(&self) -> Features {
        Features::default()
    }

    fn queues(&self) -> u16 {
        self.config.request_queues.saturating_add(OTHER_QUEUES)
    }

    fn kind(&self, queue: u16) -> QueueKind {
        match queue {
            0 => QueueKind::Control,
            1 => QueueKind::Events,
            _ => QueueKind::Requests,
        }
    }

    fn config(&self, _offset: u32, len: u32) -> Vec<u8> {
        vec![0; len as usize]
    }

    fn cores(&self) -> Vec<CoreHandle> {
        self.config.cores.clone()
    }

    fn session(&self, queue: u16, _core: CoreId, _setup: QueueSetup) -> Result<NewSession, QueueError> {
        Err(QueueError::Unserved(queue))
    }
}

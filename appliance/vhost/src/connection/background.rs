//! A core of its own for a front end whose memory keeps cores waiting.

use crate::device::VirtioDevice;
use luge_core::{BackgroundCore, BackgroundError, CoreHandle, ServingCore};
use std::sync::Arc;

/// A core without a CPU that can serve the queues of a device. When dropped, the device is taken off it, and it
/// stops: sessions must be gone.
pub(super) struct Background {
    device: Arc<dyn VirtioDevice>,
    core: BackgroundCore,
}

impl Background {
    /// Starts a core for a device.
    pub(super) fn start(device: &Arc<dyn VirtioDevice>) -> Result<Self, BackgroundError> {
        let core = BackgroundCore::start()?;
        device.attach(core.handle())?;
        Ok(Self { device: device.clone(), core })
    }

    /// The core, as one that may be chosen for a ring.
    pub(super) fn serving(&self) -> ServingCore {
        ServingCore::new(self.handle().clone())
    }

    fn handle(&self) -> &CoreHandle {
        self.core.handle()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.device.detach(self.handle().id());
    }
}

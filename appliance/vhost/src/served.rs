//! An endpoint, as its connections see it.

use crate::device::VirtioDevice;
use crate::log::Log;
use crate::status::Ledger;
use luge_core::CoreHandle;
use luge_memory::DmaSpace;
use std::sync::Arc;

/// Properties of an endpoint that its connections share.
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) device: Arc<dyn VirtioDevice>,
    pub(crate) cores: Vec<CoreHandle>,
    pub(crate) space: Arc<DmaSpace>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) log: Log,
}

impl Served {
    /// The core that serves a queue; none where there is no core at all.
    pub(crate) fn core(&self, queue: u16) -> Option<&CoreHandle> {
        self.cores.get(usize::from(queue).checked_rem(self.cores.len())?)
    }
}

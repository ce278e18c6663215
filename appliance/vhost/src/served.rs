//! An endpoint, as its connections see it.

use crate::device::VirtioDevice;
use crate::log::Log;
use crate::status::Ledger;
use luge_core::{Descriptors, ServingCore};
use luge_memory::DmaSpace;
use std::sync::Arc;

/// Properties of an endpoint that its connections share.
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) device: Arc<dyn VirtioDevice>,
    /// Cores that can serve its queues.
    pub(crate) cores: Vec<ServingCore>,
    pub(crate) space: Arc<DmaSpace>,
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) log: Log,
}

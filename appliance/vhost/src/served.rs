//! An endpoint, as its connections see it.

use crate::coalescing::Coalescing;
use crate::config_notices::ConfigNotices;
use crate::device::VirtioDevice;
use crate::log::Log;
use crate::status::Ledger;
use luge_core::{Descriptors, ServingCore, Tenant};
use luge_memory::{DmaSpace, GuestMemory};
use std::sync::Arc;

/// Properties of an endpoint that its connections share.
pub(crate) struct Served {
    pub(crate) name: String,
    /// Owner that the operator has named.
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) device: Arc<dyn VirtioDevice>,
    /// Cores that can serve its queues.
    pub(crate) cores: Vec<ServingCore>,
    pub(crate) space: Arc<DmaSpace>,
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) notices: ConfigNotices,
    pub(crate) coalescing: Coalescing,
    pub(crate) log: Log,
}

impl Served {
    /// Tenant of a front end with this guest memory.
    pub(crate) fn tenant(&self, memory: &GuestMemory) -> Tenant {
        Tenant::of(self.owner.as_ref(), memory, &self.name)
    }
}

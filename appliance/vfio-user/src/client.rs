//! A client, as its function knows it.

use luge_core::Tenant;
use luge_memory::GuestMemory;
use std::sync::Arc;

/// A client of an endpoint.
#[derive(Clone, Debug)]
pub struct Client {
    /// Name of the endpoint.
    pub endpoint: Arc<str>,
    /// Owner that the operator has named.
    pub owner: Option<Arc<str>>,
    /// Ordinal of the connection on its endpoint, from 1.
    pub number: u64,
}

impl Client {
    /// Tenant to whom the client belongs when it has this memory.
    #[must_use]
    pub fn tenant(&self, memory: &GuestMemory) -> Tenant {
        Tenant::of(self.owner.as_ref(), memory, &self.endpoint)
    }
}

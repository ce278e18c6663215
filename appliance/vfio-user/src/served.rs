//! An endpoint, as its connections see it.

use crate::function::FunctionSource;
use luge_core::Descriptors;
use luge_endpoint::{Ledger, Limit};
use luge_memory::DmaSpace;
use std::sync::Arc;

/// Properties of an endpoint that its connections share.
pub(crate) struct Served {
    pub(crate) name: String,
    /// Owner that the operator has named.
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) source: Arc<dyn FunctionSource>,
    pub(crate) space: Option<Arc<DmaSpace>>,
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) log: Log,
}

/// Rate limits of lines about a client.
#[derive(Default)]
pub(crate) struct Log {
    /// A message was refused.
    pub(crate) refused: Limit,
    /// Memory is in a file that is not mapped.
    pub(crate) unmapped: Limit,
    /// Memory has kept a core waiting.
    pub(crate) costly: Limit,
}

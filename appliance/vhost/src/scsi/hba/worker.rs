//! State that only the thread of an adapter has.

use super::cancellation::Cancellation;
use super::life::LunChange;
use super::shared::Shared;
use super::waiting::{Resets, WaitingCommand, WaitingFunction};
use crate::scsi::lun::LunAddress;
use crate::scsi::table::LunTable;
use luge_block::CoreId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// State that only the thread of an adapter has.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    /// Tables of the sessions on each core that has some.
    pub(super) tables: BTreeMap<CoreId, Arc<LunTable>>,
    /// Changes that the cores know, and the guest does not.
    pub(super) untold: Vec<(LunAddress, LunChange)>,
    /// Removals of which not all sessions know.
    pub(super) removals: Vec<(LunAddress, Cancellation)>,
    pub(super) functions: Vec<WaitingFunction>,
    pub(super) commands: Vec<WaitingCommand>,
    pub(super) resets: Resets,
}

impl Worker {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: shared.clone(),
            tables: BTreeMap::new(),
            untold: Vec::new(),
            removals: Vec::new(),
            functions: Vec::new(),
            commands: Vec::new(),
            resets: Resets::default(),
        }
    }
}

//! A command whose SGL has more descriptors than are looked at in one go.

use super::attempt::Target;
use crate::commands::BlockCommand;
use crate::data::{Collected, DataWalk};
use luge_spec::nvme::SubmissionEntry;
use luge_volume::{ListId, VolumeId};

/// A long command.
pub(super) struct Long {
    /// Index of its queue.
    pub(super) index: u16,
    pub(super) entry: SubmissionEntry,
    pub(super) target: Target,
    pub(super) command: BlockCommand,
    pub(super) list: ListId,
    pub(super) walk: DataWalk,
    pub(super) collected: Collected,
    /// Number of all spans, after the end of the walk.
    pub(super) spans: Option<usize>,
    /// Whether its queue does not serve it any more.
    pub(super) is_abandoned: bool,
}

impl Long {
    pub(super) fn is_at(&self, index: u16) -> bool {
        self.index == index && !self.is_abandoned
    }

    pub(super) fn entry(&self) -> &SubmissionEntry {
        &self.entry
    }

    /// Volume whose list it has.
    pub(super) fn volume(&self) -> VolumeId {
        self.target.volume
    }

    /// Leaves the command to its queue.
    pub(super) fn abandon(&mut self) {
        self.is_abandoned = true;
    }
}

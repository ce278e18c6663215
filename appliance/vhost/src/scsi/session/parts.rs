//! Parts of a session that a run changes.

use super::groups::Groups;
use super::slots::Slots;
use crate::queue::DeviceQueue;

/// Parts of a session that a run changes.
pub(super) struct Parts<'a> {
    pub(super) queue: &'a mut DeviceQueue,
    pub(super) slots: &'a mut Slots,
    pub(super) groups: &'a mut Groups,
}

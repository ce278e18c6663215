//! User of a VM's process.

use rustix::process::{getegid, geteuid};

/// User and group of a VM's process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum User {
    /// User and group with this number, which only root may choose.
    Own(u32),
    /// User and group of this process.
    Ours,
}

impl User {
    /// User with a number, counted from the first one of VMs, where this process may choose it.
    pub(crate) fn number(first: u32, number: u32) -> Self {
        if geteuid().is_root() { Self::Own(first.saturating_add(number)) } else { Self::Ours }
    }

    /// Number of the user.
    pub(crate) fn uid(self) -> u32 {
        match self {
            Self::Own(id) => id,
            Self::Ours => geteuid().as_raw(),
        }
    }

    /// Number of the group.
    pub(crate) fn gid(self) -> u32 {
        match self {
            Self::Own(id) => id,
            Self::Ours => getegid().as_raw(),
        }
    }
}

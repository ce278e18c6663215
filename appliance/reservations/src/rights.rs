//! Rights of a nexus, as cores see them.

use std::sync::atomic::{AtomicU8, Ordering};

/// Rights of a nexus to the blocks of a volume. Each of them includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Rights {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Read and write.
    ReadWrite,
}

/// The rights of a nexus, in a word that cores load once per batch.
#[derive(Debug)]
#[repr(transparent)]
pub struct RightsWord(AtomicU8);

impl Default for RightsWord {
    /// All rights: nobody has reserved anything.
    fn default() -> Self {
        Self(AtomicU8::new(Rights::ReadWrite as u8))
    }
}

impl RightsWord {
    /// The rights at this time.
    ///
    /// Relaxed: a change is over only after a task on each core, which orders the store before the loads of all later
    /// batches. Until then either value is right.
    #[inline]
    #[must_use]
    pub fn load(&self) -> Rights {
        match self.0.load(Ordering::Relaxed) {
            0 => Rights::None,
            1 => Rights::Read,
            _ => Rights::ReadWrite,
        }
    }

    /// Whether the nexus may do everything, as nearly always.
    #[inline]
    #[must_use]
    pub fn are_all(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Rights::ReadWrite as u8
    }

    pub(crate) fn store(&self, rights: Rights) {
        self.0.store(rights as u8, Ordering::Relaxed);
    }
}

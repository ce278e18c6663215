//! A core without a CPU of its own, for rings that keep waiting whoever serves them.
//!
//! Its turns are those of any core, on the CPUs that serve no disks where there are some, and behind all other threads
//! there.

use crate::{AttachError, CoreHandle, SpawnError};
use luge_block::CoreId;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// First number of a background core: behind those of CPUs.
const FIRST: u16 = 1 << 15;

/// Numbers in use.
static NUMBERS: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Reason why a peer gets no background core.
#[derive(Debug, Error)]
pub enum BackgroundError {
    /// There is no thread for it.
    #[error(transparent)]
    Core(#[from] SpawnError),
    /// A volume cannot be served there.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// A running core without a CPU. Stops when dropped: its sessions and volumes must be gone.
pub struct BackgroundCore {
    handle: CoreHandle,
    // Free only after the core has stopped.
    _number: Number,
}

impl BackgroundCore {
    /// Starts a thread.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn start() -> Result<Self, SpawnError> {
        let number = Number::take().ok_or(SpawnError::Thread {
            cpu: u16::MAX,
            source: io::Error::other("there are too many already"),
        })?;
        let handle = CoreHandle::spawn_in_background(CoreId(number.0))?;
        Ok(Self { handle, _number: number })
    }

    /// Whether a number is one of background cores.
    #[must_use]
    pub fn has(core: CoreId) -> bool {
        core.0 >= FIRST
    }

    /// The core.
    #[must_use]
    pub fn handle(&self) -> &CoreHandle {
        &self.handle
    }
}

impl Drop for BackgroundCore {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

/// Number of a background core: no two have the same at a time.
struct Number(u16);

impl Number {
    fn take() -> Option<Self> {
        let mut taken = numbers();
        let free = (FIRST..u16::MAX).find(|number| !taken.contains(number))?;
        taken.insert(free);
        Some(Self(free))
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        numbers().remove(&self.0);
    }
}

fn numbers() -> MutexGuard<'static, BTreeSet<u16>> {
    NUMBERS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn background_cores_do_tasks_and_have_numbers_of_their_own() {
        let (first, second) = (BackgroundCore::start().unwrap(), BackgroundCore::start().unwrap());
        assert_ne!(first.handle().id(), second.handle().id());
        assert!(BackgroundCore::has(first.handle().id()));
        assert_eq!(second.handle().call(|core| core.id()), second.handle().id());
    }
}

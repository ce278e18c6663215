//! The devices and composites that a core has open, with their users.
//!
//! ```text
//!  (1) absent   --the first user-->  (2) changing: that thread opens it
//!  (2) changing --opened-->          (3) open
//!  (2) changing --refused, closed--> (1)
//!  (3) open     --more users, fewer--> (3)
//!  (3) open     --the last has gone--> (2) changing: that thread closes it
//! ```
//!
//! Invariant: opening and closing may take as long as an SSD likes, so nothing is locked meanwhile. Who
//! wants the same source waits for it, and nobody else.

use luge_block::SharedHardware;
use luge_volume::{Base, Membership, Source, VolumeId};
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A volume of a core's graph, with the source that it is an extent of.
pub(crate) struct Mounted {
    pub(crate) volume: VolumeId,
    pub(crate) source: SourceKey,
    /// Place among the volumes that obey each other's locks, left by the thread that unmounts the volume.
    pub(crate) membership: Membership,
}

/// Address of a source in memory: who uses the key keeps the source.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SourceKey(usize);

impl SourceKey {
    pub(crate) fn of(source: &Source) -> Self {
        Self(match source {
            // Devices of one SSD share its queue pair.
            Source::Device(device) => {
                device.shared().map_or_else(|| Arc::as_ptr(device).addr(), |SharedHardware(address)| address)
            }
            Source::Composite(composite) => Arc::as_ptr(composite).addr(),
        })
    }
}

/// A source that a core has open: a channel, or a node on top of volumes.
pub(crate) struct OpenSource {
    pub(crate) base: Base,
    /// The parts of a composite.
    pub(crate) parts: Vec<Mounted>,
    pub(crate) source: Source,
}

enum State {
    Changing,
    Open { users: usize, open: OpenSource },
}

/// The sources that a core has open.
#[derive(Default)]
pub(crate) struct OpenSources {
    states: Mutex<HashMap<SourceKey, State>>,
    changed: Condvar,
}

impl OpenSources {
    /// Adds a user of a source. None: the caller is the first, and opens it, (1) to (2).
    pub(crate) fn share(&self, key: SourceKey) -> Option<Base> {
        let mut states = self.unchanging(key);
        let base = share(&mut states, key);
        if base.is_none() {
            states.insert(key, State::Changing);
        }
        base
    }

    /// Adds a user of a source that is open.
    pub(crate) fn share_open(&self, key: SourceKey) -> Option<Base> {
        share(&mut self.unchanging(key), key)
    }

    /// Calls `act` with the base of a source, if that is open; it stays so meanwhile. `act` does not block.
    pub(crate) fn inspect_open(&self, key: SourceKey, act: impl FnOnce(Base)) {
        if let Some(State::Open { open, .. }) = self.states().get(&key) {
            act(open.base);
        }
    }

    /// Waits while a source is opened or closed.
    fn unchanging(&self, key: SourceKey) -> MutexGuard<'_, HashMap<SourceKey, State>> {
        let is_changing = |states: &mut HashMap<_, _>| matches!(states.get(&key), Some(State::Changing));
        let states = self.changed.wait_while(self.states(), is_changing);
        states.unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a source that the caller has opened, (2) to (3).
    pub(crate) fn opened(&self, key: SourceKey, open: OpenSource) {
        self.states().insert(key, State::Open { users: 1, open });
        self.changed.notify_all();
    }

    /// Removes a source that the caller has closed, or could not open, (2) to (1).
    pub(crate) fn closed(&self, key: SourceKey) {
        self.states().remove(&key);
        self.changed.notify_all();
    }

    /// Removes a user of a source. The caller closes what is returned: it was the last one, (3) to (2).
    pub(crate) fn release(&self, key: SourceKey) -> Option<OpenSource> {
        let mut states = self.states();
        let state = states.get_mut(&key)?;
        if let State::Open { users, .. } = state {
            *users -= 1;
            if *users > 0 {
                return None;
            }
        }
        match std::mem::replace(state, State::Changing) {
            State::Open { open, .. } => Some(open),
            State::Changing => None,
        }
    }

    fn states(&self) -> MutexGuard<'_, HashMap<SourceKey, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn share(states: &mut HashMap<SourceKey, State>, key: SourceKey) -> Option<Base> {
    match states.get_mut(&key)? {
        State::Open { users, open } => {
            *users += 1;
            Some(open.base)
        }
        State::Changing => None,
    }
}

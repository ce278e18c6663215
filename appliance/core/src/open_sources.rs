//! The devices and composites that a core has open, with their users.

use luge_volume::{Base, Source, VolumeId};
use std::collections::HashMap;
use std::sync::Arc;

/// A volume of a core's graph, with the source that it is an extent of.
#[derive(Clone, Copy)]
pub(crate) struct Mounted {
    pub(crate) volume: VolumeId,
    pub(crate) source: SourceKey,
}

/// Address of a source in memory; [`OpenSources`] keeps it there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SourceKey(usize);

impl SourceKey {
    pub(crate) fn of(source: &Source) -> Self {
        Self(match source {
            Source::Device(device) => Arc::as_ptr(device).addr(),
            Source::Composite(composite) => Arc::as_ptr(composite).addr(),
        })
    }
}

/// A source that a core has open: a channel, or a node on top of volumes.
struct OpenSource {
    base: Base,
    users: usize,
    /// The parts of a composite.
    parts: Vec<Mounted>,
    _source: Source,
}

/// A source that nobody uses any more, to be closed.
pub(crate) struct Unused {
    pub(crate) base: Base,
    pub(crate) parts: Vec<Mounted>,
    _source: Source,
}

/// The sources that a core has open.
#[derive(Default)]
pub(crate) struct OpenSources(HashMap<SourceKey, OpenSource>);

impl OpenSources {
    /// Adds a user of a source; none where that is not open.
    pub(crate) fn share(&mut self, key: SourceKey) -> Option<Base> {
        let open = self.0.get_mut(&key)?;
        open.users += 1;
        Some(open.base)
    }

    /// Adds a source that has been opened for its first user.
    pub(crate) fn add(&mut self, source: &Source, base: Base, parts: Vec<Mounted>) {
        let open = OpenSource { base, users: 1, parts, _source: source.clone() };
        self.0.insert(SourceKey::of(source), open);
    }

    /// Removes a user of a source; returns the source if that was the last one.
    pub(crate) fn release(&mut self, key: SourceKey) -> Option<Unused> {
        let open = self.0.get_mut(&key)?;
        open.users -= 1;
        if open.users > 0 {
            return None;
        }
        let OpenSource { base, parts, _source, .. } = self.0.remove(&key)?;
        Some(Unused { base, parts, _source })
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

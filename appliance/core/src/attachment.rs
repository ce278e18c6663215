//! A volume on a core: opened for the first that needs it, closed with the last.

use crate::CoreHandle;
use luge_block::OpenError;
use luge_volume::{Base, Source, Stats, Volume, VolumeId};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use thiserror::Error;

/// Why a volume could not be served by a core.
#[derive(Debug, Error)]
pub enum AttachError {
    /// A device gave no channel.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The core's graph is full.
    #[error("core {0} serves as many volumes as it can (65536): use more cores (-m), or serve fewer disks")]
    Full(u16),
}

/// A volume that a core's graph has. Dropping it takes the volume off the core, and closes
/// what it is on there if nobody else uses it. Sessions that use it go first.
pub struct Attachment {
    core: CoreHandle,
    mounted: Mounted,
    stats: Arc<Stats>,
    /// Number of rings that use it.
    rings: Arc<AtomicUsize>,
}

/// A volume of a core's graph, and what it is on.
#[derive(Clone, Copy)]
struct Mounted {
    volume: VolumeId,
    source: SourceKey,
}

/// A source, by its place in memory; [`Open`] keeps it there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct SourceKey(usize);

impl SourceKey {
    fn of(source: &Source) -> Self {
        Self(match source {
            Source::Device(device) => Arc::as_ptr(device).addr(),
            Source::Composite(composite) => Arc::as_ptr(composite).addr(),
        })
    }
}

/// A source that a core has open: a channel, or a node on top of volumes.
struct Open {
    base: Base,
    users: usize,
    /// The parts of a composite.
    parts: Vec<Mounted>,
    _source: Source,
}

/// The sources that a core has open.
#[derive(Default)]
pub(crate) struct OpenSources(HashMap<SourceKey, Open>);

impl OpenSources {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl CoreHandle {
    /// Lets the core serve a volume. Blocks while devices open queues.
    ///
    /// # Errors
    /// [`AttachError`]; nothing has changed then.
    pub fn attach(&self, volume: &Arc<Volume>) -> Result<Attachment, AttachError> {
        let mounted = self.mount(&mut self.open_sources(), volume)?;
        let (core, stats, rings) = (self.clone(), volume.stats(self.id()), Arc::default());
        Ok(Attachment { core, mounted, stats, rings })
    }

    fn mount(&self, open: &mut OpenSources, volume: &Arc<Volume>) -> Result<Mounted, AttachError> {
        let source = SourceKey::of(volume.source());
        let base = self.open(open, source, volume.source())?;
        let served = volume.clone();
        // The core gives the volume back with the answer: it drops nothing.
        let (added, _served) = self.call(move |core| {
            let id = core.id();
            (core.graph().add_volume(id, &served, base), served)
        });
        match added {
            Some(volume) => Ok(Mounted { volume, source }),
            None => {
                self.release(open, source);
                Err(self.full())
            }
        }
    }

    /// Opens a source for one more user.
    fn open(&self, open: &mut OpenSources, key: SourceKey, source: &Source) -> Result<Base, AttachError> {
        if let Some(entry) = open.0.get_mut(&key) {
            entry.users += 1;
            return Ok(entry.base);
        }
        let (base, parts) = match source {
            Source::Device(device) => {
                let channel = device.open(self.id())?;
                let added = self.call(move |core| core.graph().add_channel(channel));
                (Base::Channel(added.map_err(|_| self.full())?), Vec::new())
            }
            Source::Composite(composite) => {
                let parts = self.mount_all(open, composite.parts())?;
                let ids: Vec<VolumeId> = parts.iter().map(|part| part.volume).collect();
                let node = composite.open(self.id(), &ids);
                let added = self.call(move |core| (core.graph().add_node(node, &ids), ids));
                match added.0 {
                    Ok(node) => (Base::Node(node), parts),
                    Err(_) => {
                        self.unmount_all(open, parts);
                        return Err(self.full());
                    }
                }
            }
        };
        open.0.insert(key, Open { base, users: 1, parts, _source: source.clone() });
        Ok(base)
    }

    fn mount_all(
        &self,
        open: &mut OpenSources,
        volumes: &[Arc<Volume>],
    ) -> Result<Vec<Mounted>, AttachError> {
        let mut mounted = Vec::new();
        for volume in volumes {
            match self.mount(open, volume) {
                Ok(part) => mounted.push(part),
                Err(error) => {
                    self.unmount_all(open, mounted);
                    return Err(error);
                }
            }
        }
        Ok(mounted)
    }

    fn unmount_all(&self, open: &mut OpenSources, mounted: Vec<Mounted>) {
        mounted.into_iter().for_each(|volume| self.unmount(open, volume));
    }

    fn unmount(&self, open: &mut OpenSources, Mounted { volume, source }: Mounted) {
        self.call(move |core| core.graph().remove_volume(volume));
        self.release(open, source);
    }

    /// Closes a source for one of its users.
    fn release(&self, open: &mut OpenSources, key: SourceKey) {
        let Some(entry) = open.0.get_mut(&key) else { return };
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        match entry.base {
            Base::Channel(channel) => drop(self.call(move |core| core.graph().remove_channel(channel))),
            Base::Node(node) => drop(self.call(move |core| core.graph().remove_node(node))),
        }
        let closed = open.0.remove(&key);
        closed.into_iter().for_each(|closed| self.unmount_all(open, closed.parts));
    }

    fn full(&self) -> AttachError {
        AttachError::Full(self.id().0)
    }
}

impl Attachment {
    /// The volume's number in the core's graph.
    #[must_use]
    pub fn volume(&self) -> VolumeId {
        self.mounted.volume
    }

    /// Counters of the volume on this core.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// The core.
    #[must_use]
    pub fn core(&self) -> &CoreHandle {
        &self.core
    }

    /// Number of rings that use it.
    pub(crate) fn rings(&self) -> &Arc<AtomicUsize> {
        &self.rings
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.core.unmount(&mut self.core.open_sources(), self.mounted);
    }
}

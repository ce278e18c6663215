//! A volume on a core: opened for its first user there, closed after the last.

use crate::CoreHandle;
use crate::open_sources::{Mounted, OpenSources, SourceKey};
use luge_block::OpenError;
use luge_volume::{Base, Composite, Source, Stats, Volume, VolumeId};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use thiserror::Error;

/// Error of a volume that a core cannot serve.
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
/// its device or composite there if nobody else uses that. Sessions that use it go first.
pub struct Attachment {
    core: CoreHandle,
    mounted: Mounted,
    stats: Arc<Stats>,
    /// Number of rings that use it.
    rings: Arc<AtomicUsize>,
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
        let base = match open.share(source) {
            Some(base) => base,
            None => self.open(open, volume.source())?,
        };
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

    /// Opens a source for its first user.
    fn open(&self, open: &mut OpenSources, source: &Source) -> Result<Base, AttachError> {
        let (base, parts) = match source {
            Source::Device(device) => {
                let channel = device.open(self.id())?;
                let added = self.call(move |core| core.graph().add_channel(channel));
                (Base::Channel(added.map_err(|_| self.full())?), Vec::new())
            }
            Source::Composite(composite) => self.open_composite(open, &**composite)?,
        };
        open.add(source, base, parts);
        Ok(base)
    }

    fn open_composite(
        &self,
        open: &mut OpenSources,
        composite: &dyn Composite,
    ) -> Result<(Base, Vec<Mounted>), AttachError> {
        let parts = self.mount_all(open, composite.parts())?;
        let ids: Vec<VolumeId> = parts.iter().map(|part| part.volume).collect();
        let node = composite.open(self.id(), &ids);
        let (added, _ids) = self.call(move |core| (core.graph().add_node(node, &ids), ids));
        match added {
            Ok(node) => Ok((Base::Node(node), parts)),
            Err(_) => {
                self.unmount_all(open, parts);
                Err(self.full())
            }
        }
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

    /// Removes a user of a source, and closes it after the last one.
    fn release(&self, open: &mut OpenSources, key: SourceKey) {
        let Some(unused) = open.release(key) else { return };
        match unused.base {
            Base::Channel(channel) => drop(self.call(move |core| core.graph().remove_channel(channel))),
            Base::Node(node) => drop(self.call(move |core| core.graph().remove_node(node))),
        }
        self.unmount_all(open, unused.parts);
    }

    fn full(&self) -> AttachError {
        AttachError::Full(self.id().0)
    }
}

impl Attachment {
    /// Number of the volume in the core's graph.
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

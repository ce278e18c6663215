//! A volume on a core: opened for its first user there, closed after the last.

use crate::CoreHandle;
use crate::open_sources::{Mounted, OpenSource, SourceKey};
use crate::sites::CoreSite;
use luge_block::{Device, OpenError};
use luge_reservations::{Nexus, RightsWord, Serving};
use luge_volume::{Base, Composite, Source, Stats, Volume, VolumeId, VolumeUser};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
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
    volume: VolumeId,
    /// Taken when the attachment is dropped.
    mounted: Option<Mounted>,
    stats: Arc<Stats>,
    /// Membership of the volume's reservations; none after the end.
    serving: Option<Serving>,
}

impl CoreHandle {
    /// Lets the core serve a volume, for users that cannot register with its reservations. Blocks while devices open
    /// queues.
    ///
    /// # Errors
    /// [`AttachError`]; nothing has changed then.
    pub fn attach(&self, volume: &Arc<Volume>) -> Result<Attachment, AttachError> {
        self.attach_with(volume, None)
    }

    /// Lets the core serve a volume, for the initiator of `nexus`. It obeys the reservations of the nexus: those of the
    /// volume, or others that only some of its users share. Blocks while devices open queues.
    ///
    /// # Errors
    /// [`AttachError`]; nothing has changed then.
    pub fn attach_as(&self, volume: &Arc<Volume>, nexus: &Nexus) -> Result<Attachment, AttachError> {
        self.attach_with(volume, Some(nexus))
    }

    fn attach_with(&self, volume: &Arc<Volume>, nexus: Option<&Nexus>) -> Result<Attachment, AttachError> {
        let reservations = nexus.map_or_else(|| volume.reservations(), Nexus::reservations);
        let rights = nexus.map_or_else(|| reservations.strangers(), |nexus| nexus.rights_word().clone());
        let mounted = self.mount(volume, rights)?;
        let site = CoreSite::new(self.clone(), mounted.volume);
        let serving = Some(Serving::new(reservations, nexus, Arc::new(site)));
        self.attachments().fetch_add(1, Relaxed);
        let (core, id, stats) = (self.clone(), mounted.volume, volume.stats(self.id()));
        Ok(Attachment { core, volume: id, mounted: Some(mounted), stats, serving })
    }

    fn mount(&self, volume: &Arc<Volume>, rights: Arc<RightsWord>) -> Result<Mounted, AttachError> {
        let source = SourceKey::of(volume.source());
        let base = match self.open_sources().share(source) {
            Some(base) => base,
            None => self.open(volume.source(), source)?,
        };
        // Made here: the core finds them.
        let _counters = volume.stats(self.id());
        let (served, membership) = (volume.clone(), volume.join(self.signal()));
        let member = membership.member().clone();
        // The core gives the volume back with the answer: it drops nothing.
        let (added, _served) = self.call(move |core| {
            let id = core.id();
            let user = VolumeUser { member, rights };
            (core.graph().add_volume_for(id, &served, base, user), served)
        });
        match added {
            Some(volume) => Ok(Mounted { volume, source, membership }),
            None => {
                self.release(source);
                Err(self.full())
            }
        }
    }

    /// Serves a device, and the volumes that are the whole of it, with the size that it has now, if the core has it
    /// open. Blocks while another thread opens or closes it.
    pub fn resize(&self, device: &Arc<dyn Device>) {
        let key = SourceKey::of(&Source::Device(device.clone()));
        let Some(base) = self.open_sources().share_open(key) else { return };
        if let Base::Channel(channel) = base {
            let mut size = device.channel_size();
            // What the channel no longer needs comes back.
            let _before = self.call(move |core| {
                core.graph().resize_channel(channel, &mut size);
                size
            });
        }
        self.release(key);
    }

    /// As [`Self::resize`], without waiting for anything: for a core that may itself wait for a guest's memory. A
    /// device that is just being opened may keep the size before.
    pub fn resize_soon(&self, device: &Arc<dyn Device>) {
        let key = SourceKey::of(&Source::Device(device.clone()));
        self.open_sources().inspect_open(key, |base| {
            if let Base::Channel(channel) = base {
                let mut size = device.channel_size();
                // Whoever closes the channel does so by a later task. Such a core may drop what comes back.
                self.send(move |core| core.graph().resize_channel(channel, &mut size));
            }
        });
    }

    /// Opens a source for its first user.
    fn open(&self, source: &Source, key: SourceKey) -> Result<Base, AttachError> {
        let opened = match source {
            Source::Device(device) => self.open_device(&**device).map(|base| (base, Vec::new())),
            Source::Composite(composite) => self.open_composite(&**composite),
        };
        let (base, parts) = opened.inspect_err(|_| self.open_sources().closed(key))?;
        self.open_sources().opened(key, OpenSource { base, parts, source: source.clone() });
        Ok(base)
    }

    fn open_device(&self, device: &dyn Device) -> Result<Base, AttachError> {
        let channel = device.open(self.id())?;
        let added = self.call(move |core| core.graph().add_channel(channel));
        Ok(Base::Channel(added.map_err(|_| self.full())?))
    }

    fn open_composite(&self, composite: &dyn Composite) -> Result<(Base, Vec<Mounted>), AttachError> {
        let parts = self.mount_all(composite.parts())?;
        let ids: Vec<VolumeId> = parts.iter().map(|part| part.volume).collect();
        let node = composite.open(self.id(), &ids);
        let (added, _ids) = self.call(move |core| (core.graph().add_node(node, &ids), ids));
        match added {
            Ok(node) => Ok((Base::Node(node), parts)),
            Err(_) => {
                self.unmount_all(parts);
                Err(self.full())
            }
        }
    }

    fn mount_all(&self, volumes: &[Arc<Volume>]) -> Result<Vec<Mounted>, AttachError> {
        let mut mounted = Vec::new();
        for volume in volumes {
            // What is reserved is the whole; its parts are nobody else's.
            match self.mount(volume, Arc::default()) {
                Ok(part) => mounted.push(part),
                Err(error) => {
                    self.unmount_all(mounted);
                    return Err(error);
                }
            }
        }
        Ok(mounted)
    }

    fn unmount_all(&self, mounted: Vec<Mounted>) {
        mounted.into_iter().for_each(|volume| self.unmount(volume));
    }

    fn unmount(&self, Mounted { volume, source, membership }: Mounted) {
        self.call(move |core| core.remove_volume(volume));
        drop(membership);
        self.release(source);
    }

    /// Removes a user of a source, and closes it after the last one.
    fn release(&self, key: SourceKey) {
        let Some(OpenSource { base, parts, source }) = self.open_sources().release(key) else { return };
        match base {
            Base::Channel(channel) => drop(self.call(move |core| core.graph().remove_channel(channel))),
            Base::Node(node) => drop(self.call(move |core| core.graph().remove_node(node))),
        }
        self.unmount_all(parts);
        self.open_sources().closed(key);
        // Not before: another source could get its address, and so its key.
        drop(source);
    }

    fn full(&self) -> AttachError {
        AttachError::Full(self.id().0)
    }
}

impl Attachment {
    /// Number of the volume in the core's graph.
    #[must_use]
    pub fn volume(&self) -> VolumeId {
        self.volume
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
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // Before: whoever waits for it then has asked the core already.
        self.serving = None;
        self.mounted.take().into_iter().for_each(|mounted| self.core.unmount(mounted));
        self.core.attachments().fetch_sub(1, Relaxed);
    }
}

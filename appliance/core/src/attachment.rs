//! A volume on a core: opened for the first that needs it, closed with the last.

use crate::CoreHandle;
use luge_block::{Device, OpenError};
use luge_volume::{ChannelId, Volume, VolumeId};
use std::collections::HashMap;
use std::sync::Arc;
use thiserror::Error;

/// Why a volume could not be served by a core.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The device gave no channel.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The core's graph is full.
    #[error("core {0} serves as many volumes as it can (65536): use more cores (-m)")]
    Full(u16),
}

/// A volume that a core's graph has. Dropping it takes the volume off the core, and closes
/// the device's channel there if nobody else uses it. Sessions that use it go first.
pub struct Attachment {
    core: CoreHandle,
    volume: VolumeId,
    device: DeviceKey,
}

/// A device, by its place in memory; [`Open`] keeps it there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct DeviceKey(usize);

impl DeviceKey {
    fn of(device: &Arc<dyn Device>) -> Self {
        Self(Arc::as_ptr(device).addr())
    }
}

struct Open {
    channel: ChannelId,
    users: usize,
    _device: Arc<dyn Device>,
}

/// The devices a core has open.
#[derive(Default)]
pub(crate) struct OpenDevices(HashMap<DeviceKey, Open>);

impl CoreHandle {
    /// Lets the core serve a volume. Blocks while the device opens a queue.
    ///
    /// # Errors
    /// [`AttachError`]; nothing has changed then.
    pub fn attach(&self, volume: &Arc<Volume>) -> Result<Attachment, AttachError> {
        let key = DeviceKey::of(volume.device());
        let mut open = self.open_devices();
        let channel = match open.0.get(&key) {
            Some(open) => open.channel,
            None => {
                let channel = volume.device().open(self.id())?;
                let added = self.call(move |core| core.graph().add_channel(channel));
                let channel = added.map_err(|_| AttachError::Full(self.id().0))?;
                open.0.insert(key, Open { channel, users: 0, _device: volume.device().clone() });
                channel
            }
        };
        let served = volume.clone();
        let added = self.call(move |core| {
            let id = core.id();
            // The core gives the volume back with the answer: it drops nothing.
            (core.graph().add_volume(id, &served, channel), served)
        });
        if let Some(open) = open.0.get_mut(&key) {
            open.users += 1;
        }
        drop(open);
        match added.0 {
            Some(volume) => Ok(Attachment { core: self.clone(), volume, device: key }),
            None => {
                self.release(key);
                Err(AttachError::Full(self.id().0))
            }
        }
    }

    fn release(&self, key: DeviceKey) {
        let mut open = self.open_devices();
        let Some(entry) = open.0.get_mut(&key) else { return };
        entry.users -= 1;
        if entry.users == 0 {
            let channel = entry.channel;
            drop(self.call(move |core| core.graph().remove_channel(channel)));
            open.0.remove(&key);
        }
    }
}

impl Attachment {
    /// The volume's number in the core's graph.
    #[must_use]
    pub fn volume(&self) -> VolumeId {
        self.volume
    }

    /// The core.
    #[must_use]
    pub fn core(&self) -> &CoreHandle {
        &self.core
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let volume = self.volume;
        self.core.call(move |core| core.graph().remove_volume(volume));
        self.core.release(self.device);
    }
}

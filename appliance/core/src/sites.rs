//! Cores that obey the reservations of their volumes.

use crate::CoreHandle;
use luge_reservations::{Receipt, Site};
use luge_volume::VolumeId;

/// A volume on a core, as its reservations see it.
pub(crate) struct CoreSite {
    core: CoreHandle,
    volume: VolumeId,
}

impl CoreSite {
    pub(crate) fn new(core: CoreHandle, volume: VolumeId) -> Self {
        Self { core, volume }
    }
}

impl Site for CoreSite {
    fn core(&self) -> u16 {
        self.core.id().0
    }

    /// The receipt goes between two turns. Requests of the turn before were taken with the old rights or the new
    /// ones, those of the turn after with the new ones.
    fn obey(&self, receipt: Receipt) {
        self.core.send(move |_| drop(receipt));
    }

    fn drain(&self, receipt: Receipt) {
        let volume = self.volume;
        self.core.send(move |core| core.drain(volume, Box::new(move || drop(receipt))));
    }
}

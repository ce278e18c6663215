//! Quirks: needs of some models besides the specification, by PCI vendor and device.
//!
//! Path: none; read at bring-up and recovery.
//!
//! The facts are those that two other drivers found: Linux (drivers/nvme/host/pci.c) and SPDK
//! (lib/nvme/nvme_quirks.c). Each line names its source. Models that are not listed follow the
//! specification.
//!
//! Invariant: each kind of quirk has a test with a scripted SSD, which fails if the driver ignores the quirk.
//!
//! Not here: needs of some models that are met for all SSDs (an admin queue of whole pages); power states, SGLs and
//! interrupts, which Luge does not use.

use luge_memory::PciId;
use std::time::Duration;

/// A need of a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Quirk {
    /// No register may be written for [`Self::pause`] after a function reset.
    PauseAfterReset,
    /// CSTS may not be read for [`Self::pause`] after CC.EN became 0.
    PauseAfterDisable,
    /// An I/O queue pair takes no commands for [`Self::pause`] after it was created.
    PauseAfterQueue,
    /// An I/O queue has at most that many entries, whatever CAP.MQES says.
    QueueEntriesMax(u16),
    /// An I/O queue has that many entries where CAP.MQES is zero.
    QueueEntriesUntold(u16),
    /// Write Zeroes must not be sent, whatever ONCS says.
    NoWriteZeroes,
    /// Identify must be sent only for the controller and for a namespace (CNS 01h and 00h).
    BasicIdentify,
    /// NGUID and EUI64 are equal on many SSDs.
    SharedIdentifiers,
    /// Command identifiers must be below the number of entries of their queue.
    SmallIdentifiers,
}

impl Quirk {
    /// Length of the pause; zero where the quirk is no pause.
    const fn pause(self) -> Duration {
        match self {
            Self::PauseAfterReset => Duration::from_secs(2),
            Self::PauseAfterDisable => Duration::from_millis(2300),
            Self::PauseAfterQueue => Duration::from_micros(100),
            _ => Duration::ZERO,
        }
    }
}

use Quirk::{
    BasicIdentify, NoWriteZeroes, PauseAfterDisable, PauseAfterQueue, PauseAfterReset, QueueEntriesMax,
    QueueEntriesUntold, SharedIdentifiers, SmallIdentifiers,
};

/// Vendor, device, and what the model needs.
#[rustfmt::skip]
const TABLE: &[(u16, u16, &[Quirk])] = &[
    (0x106b, 0x2001, &[QueueEntriesMax(2)]), // Apple, MacBook 2015: Linux
    (0x106b, 0x2005, &[SmallIdentifiers]), // Apple, with a T2: Linux
    (0x126f, 0x2262, &[SharedIdentifiers]), // Silicon Motion SM2262: Linux
    (0x126f, 0x2263, &[SharedIdentifiers]), // Silicon Motion SM2263: Linux
    (0x144d, 0xa802, &[SharedIdentifiers]), // Samsung SM953: Linux
    (0x144d, 0xa80b, &[NoWriteZeroes, SharedIdentifiers]), // Samsung PM9B1: Linux
    (0x144d, 0xa821, &[PauseAfterDisable, QueueEntriesUntold(64)]), // Samsung PM1725: Linux, SPDK
    (0x144d, 0xa822, &[PauseAfterDisable, QueueEntriesUntold(64), NoWriteZeroes]), // Samsung PM1725a: Linux, SPDK
    (0x15b7, 0x2001, &[NoWriteZeroes]), // SanDisk Skyhawk: Linux
    (0x1987, 0x5012, &[SharedIdentifiers]), // Phison E12: Linux
    (0x1987, 0x5016, &[SharedIdentifiers]), // Phison E16: Linux
    (0x1987, 0x5019, &[NoWriteZeroes]), // Phison E19: Linux
    (0x1987, 0x5021, &[NoWriteZeroes]), // Phison E21: Linux
    (0x1bb1, 0x0100, &[PauseAfterDisable]), // Seagate Nytro: Linux
    (0x1c58, 0x0003, &[PauseAfterDisable]), // HGST SN100: Linux
    (0x1c58, 0x0023, &[PauseAfterDisable]), // WDC SN200: Linux
    (0x1c5c, 0x1504, &[NoWriteZeroes]), // SK hynix PC400: Linux
    (0x1c5c, 0x174a, &[SharedIdentifiers]), // SK hynix P31: Linux
    (0x1c5f, 0x0540, &[PauseAfterDisable]), // Memblaze PBlaze4: Linux, SPDK
    (0x1d1d, 0x1f1f, &[BasicIdentify]), // CNEX Labs: SPDK
    (0x2646, 0x5018, &[NoWriteZeroes]), // Kingston OM8SFP4: Linux
    (0x8086, 0x0953, &[PauseAfterReset]), // Intel 750, P3500, P3600, P3700: SPDK
    (0x8086, 0x0a53, &[PauseAfterReset]), // Intel P3520: SPDK
    (0x8086, 0x0a54, &[SharedIdentifiers]), // Intel P4500, P4600: Linux
    (0x8086, 0x5845, &[BasicIdentify, NoWriteZeroes, SharedIdentifiers]), // QEMU before 5.2: Linux, SPDK
    (0x8086, 0xf1a5, &[NoWriteZeroes]), // Intel 600p, P3100: Linux
    (0x80ee, 0x4e56, &[PauseAfterQueue]), // VirtualBox: SPDK
    (0xc0a9, 0x540a, &[SharedIdentifiers]), // Crucial P2: Linux
];

/// The quirks of a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quirks(&'static [Quirk]);

impl Quirks {
    /// Quirks of the model with that vendor and device.
    pub(crate) fn of(id: PciId) -> Self {
        let line = TABLE.iter().find(|(vendor, device, _)| (*vendor, *device) == (id.vendor, id.device));
        Self(line.map_or(&[], |(_, _, quirks)| quirks))
    }

    /// Every quirk of the model.
    pub(crate) fn all(self) -> &'static [Quirk] {
        self.0
    }

    /// Whether the model has a quirk.
    pub(crate) fn has(self, quirk: Quirk) -> bool {
        self.0.contains(&quirk)
    }

    /// Sleeps for a pause, if the model needs that pause.
    pub(crate) fn pause(self, quirk: Quirk) {
        if self.has(quirk) {
            std::thread::sleep(quirk.pause());
        }
    }

    /// The most entries of an I/O queue, where CAP.MQES is `told_z`.
    pub(crate) fn queue_entries_max(self, told_z: u16) -> u32 {
        let told = u32::from(told_z).saturating_add(1);
        self.0.iter().fold(told, |most, quirk| match *quirk {
            QueueEntriesMax(limit) => most.min(limit.into()),
            QueueEntriesUntold(entries) if told_z == 0 => entries.into(),
            _ => most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_in_the_table_once_and_in_its_order() {
        let models: Vec<_> = TABLE.iter().map(|(vendor, device, _)| (*vendor, *device)).collect();
        assert!(models.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn queues_are_as_long_as_the_model_takes_them() {
        let quirks = |vendor, device| Quirks::of(PciId { vendor, device });
        assert_eq!(quirks(0x106b, 0x2001).queue_entries_max(1023), 2);
        assert_eq!(quirks(0x144d, 0xa821).queue_entries_max(0), 64);
        assert_eq!(quirks(0x144d, 0xa821).queue_entries_max(1023), 1024);
        assert_eq!(quirks(0x1b36, 0x0010).queue_entries_max(u16::MAX), 65536);
    }
}

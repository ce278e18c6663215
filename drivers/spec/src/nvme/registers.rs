//! Controller registers in BAR 0. Base 2.0, clause 3.1.3.

/// Offsets of registers, in bytes from the start of BAR 0.
pub mod offset {
    /// Controller Capabilities, 64 bits.
    pub const CAP: u32 = 0x00;
    /// Version.
    pub const VS: u32 = 0x08;
    /// Interrupt Mask Set.
    pub const INTMS: u32 = 0x0c;
    /// Interrupt Mask Clear.
    pub const INTMC: u32 = 0x10;
    /// Controller Configuration.
    pub const CC: u32 = 0x14;
    /// Controller Status.
    pub const CSTS: u32 = 0x1c;
    /// NVM Subsystem Reset.
    pub const NSSR: u32 = 0x20;
    /// Admin Queue Attributes.
    pub const AQA: u32 = 0x24;
    /// Admin Submission Queue Base Address, 64 bits.
    pub const ASQ: u32 = 0x28;
    /// Admin Completion Queue Base Address, 64 bits.
    pub const ACQ: u32 = 0x30;
    /// Controller Ready Timeouts.
    pub const CRTO: u32 = 0x68;
    /// First doorbell: tail of submission queue 0.
    pub const DOORBELLS: u32 = 0x1000;
}

/// CAP: capabilities of a controller. Clause 3.1.3.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// NSSRS: whether NSSR resets the subsystem.
    pub const SUBSYSTEM_RESET: u64 = 1 << 36;
    /// CRWMS, in CRMS: the controller is ready when its media are.
    pub const READY_WITH_MEDIA: u64 = 1 << 59;

    /// Sets MQES: entries of the largest I/O queue, zero-based.
    #[must_use]
    pub const fn with_queue_entries_max_z(self, entries_z: u16) -> Self {
        Self(self.0 & !0xffff | entries_z as u64)
    }

    /// Sets TO: longest time until CSTS.RDY follows CC.EN, in units of 500 ms.
    #[must_use]
    pub const fn with_timeout_500ms(self, timeout: u8) -> Self {
        Self(self.0 & !(0xff << 24) | (timeout as u64) << 24)
    }

    /// Sets CSS: bits of [`command_sets`].
    #[must_use]
    pub const fn with_command_sets(self, sets: u8) -> Self {
        Self(self.0 & !(0xff << 37) | (sets as u64) << 37)
    }

    /// Sets MPSMAX: largest memory page, as a power of two of 4 KiB.
    #[must_use]
    pub const fn with_page_shift_max(self, shift: u8) -> Self {
        Self(self.0 & !(0xf << 52) | ((shift & 0xf) as u64) << 52)
    }

    /// Sets DSTRD: bytes from one doorbell to the next, as a power of two of 4 bytes.
    #[must_use]
    pub const fn with_doorbell_stride_log(self, log: u8) -> Self {
        Self(self.0 & !(0xf << 32) | ((log & 0xf) as u64) << 32)
    }

    /// MQES: entries of the largest I/O queue, zero-based.
    #[must_use]
    pub const fn queue_entries_max_z(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// TO: longest time until CSTS.RDY follows CC.EN, in units of 500 ms.
    #[must_use]
    pub const fn timeout_500ms(self) -> u8 {
        (self.0 >> 24 & 0xff) as u8
    }

    /// DSTRD: bytes from one doorbell to the next.
    #[must_use]
    pub const fn doorbell_stride_bytes(self) -> u32 {
        4 << (self.0 >> 32 & 0xf)
    }

    /// CSS: supported I/O command sets, bits of [`command_sets`].
    #[must_use]
    pub const fn command_sets(self) -> u8 {
        (self.0 >> 37 & 0xff) as u8
    }

    /// MPSMIN: smallest memory page, in bytes.
    #[must_use]
    pub const fn page_bytes_min(self) -> u64 {
        4096 << (self.0 >> 48 & 0xf)
    }

    /// MPSMAX: largest memory page, in bytes.
    #[must_use]
    pub const fn page_bytes_max(self) -> u64 {
        4096 << (self.0 >> 52 & 0xf)
    }
}

/// Bits of CAP.CSS.
pub mod command_sets {
    /// The NVM command set.
    pub const NVM: u8 = 1 << 0;
    /// One or more I/O command sets, listed by Identify CNS 1Ch.
    pub const SEVERAL: u8 = 1 << 6;
    /// No I/O command set: the controller has admin commands only.
    pub const ADMIN_ONLY: u8 = 1 << 7;
}

/// VS: version of the specification that a controller follows. Clause 3.1.3.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct Version(pub u32);

impl Version {
    /// 1.1, the first with the list of active namespaces.
    pub const V1_1: Self = Self(0x0001_0100);
    /// 2.0, the first with identify pages per command set.
    pub const V2_0: Self = Self(0x0002_0000);
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0 >> 16, self.0 >> 8 & 0xff)
    }
}

/// AQA: entries of the admin queues. Clause 3.1.3.8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct AdminQueueAttributes(pub u32);

impl AdminQueueAttributes {
    /// Bits that a host can set: all but the reserved ones.
    pub const WRITABLE: u32 = 0x0fff_0fff;

    /// ASQS: entries of the submission queue, zero-based.
    #[must_use]
    pub const fn submission_entries_z(self) -> u16 {
        (self.0 & 0xfff) as u16
    }

    /// ACQS: entries of the completion queue, zero-based.
    #[must_use]
    pub const fn completion_entries_z(self) -> u16 {
        (self.0 >> 16 & 0xfff) as u16
    }
}

/// NSSR: value that resets the subsystem, "NVMe". Clause 3.1.3.7.
pub const SUBSYSTEM_RESET: u32 = 0x4e56_4d65;

/// CC: configuration, set by the host. Clause 3.1.3.5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Configuration(pub u32);

/// CC.SHN: a shutdown notification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Shutdown {
    /// None.
    None = 0,
    /// Normal shutdown: caches are written to the media.
    Normal = 1,
    /// Power is about to fail.
    Abrupt = 2,
}

impl Configuration {
    /// Enabled, with 4 KiB pages, the NVM command set, round robin, entries of 64 and 16 bytes.
    pub const ENABLED: Self = Self(1 | 6 << 16 | 4 << 20);

    /// Sets CSS to 110b: all I/O command sets that the controller supports.
    #[must_use]
    pub const fn with_all_command_sets(self) -> Self {
        Self(self.0 & !(7 << 4) | 6 << 4)
    }

    /// EN: whether the controller is enabled.
    #[must_use]
    pub const fn enabled(self) -> bool {
        self.0 & 1 == 1
    }

    /// Clears EN.
    #[must_use]
    pub const fn disabled(self) -> Self {
        Self(self.0 & !1)
    }

    /// Sets SHN.
    #[must_use]
    pub const fn with_shutdown(self, shutdown: Shutdown) -> Self {
        Self(self.0 & !(3 << 14) | (shutdown as u32) << 14)
    }

    /// SHN: whether a shutdown is notified.
    #[must_use]
    pub const fn shutting_down(self) -> bool {
        self.0 >> 14 & 3 != 0
    }

    /// SHN: kind of shutdown, 1 for a normal and 2 for an abrupt one; zero for none.
    #[must_use]
    pub const fn shutdown(self) -> u8 {
        (self.0 >> 14 & 3) as u8
    }

    /// Bits that a host can set: all but the reserved ones.
    pub const WRITABLE: u32 = 0x01ff_fff1;

    /// CSS: selection of command sets.
    #[must_use]
    pub const fn command_sets(self) -> u8 {
        (self.0 >> 4 & 7) as u8
    }

    /// MPS: size of a memory page in bytes.
    #[must_use]
    pub const fn page_bytes(self) -> u32 {
        4096 << (self.0 >> 7 & 0xf)
    }

    /// AMS: arbitration mechanism; zero for round robin.
    #[must_use]
    pub const fn arbitration(self) -> u8 {
        (self.0 >> 11 & 7) as u8
    }

    /// IOSQES: size of I/O submission entries, as a power of two.
    #[must_use]
    pub const fn submission_entry_size(self) -> u8 {
        (self.0 >> 16 & 0xf) as u8
    }

    /// IOCQES: size of I/O completion entries, as a power of two.
    #[must_use]
    pub const fn completion_entry_size(self) -> u8 {
        (self.0 >> 20 & 0xf) as u8
    }

    /// CRIME: whether the controller is ready before its media are.
    #[must_use]
    pub const fn ready_without_media(self) -> bool {
        self.0 >> 24 & 1 == 1
    }
}

/// CSTS: state of a controller. Clause 3.1.3.6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct ControllerStatus(pub u32);

/// CSTS.SHST: progress of a shutdown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct ShutdownStatus(pub u32);

impl ShutdownStatus {
    /// No shutdown was notified.
    pub const NORMAL_OPERATION: Self = Self(0);
    /// Shutdown in progress.
    pub const OCCURRING: Self = Self(1);
    /// Shutdown complete: power may be removed.
    pub const COMPLETE: Self = Self(2);
}

impl ControllerStatus {
    /// RDY.
    pub const READY: u32 = 1 << 0;
    /// CFS.
    pub const FATAL: u32 = 1 << 1;
    /// NSSRO: a subsystem reset occurred. Cleared by writing a one.
    pub const SUBSYSTEM_RESET_OCCURRED: u32 = 1 << 4;

    /// RDY: whether commands are processed.
    #[must_use]
    pub const fn ready(self) -> bool {
        self.0 & 1 == 1
    }

    /// CFS: whether there was an error that the controller cannot report otherwise.
    #[must_use]
    pub const fn fatal(self) -> bool {
        self.0 & 2 != 0
    }

    /// SHST: progress of a shutdown.
    #[must_use]
    pub const fn shutdown(self) -> ShutdownStatus {
        ShutdownStatus(self.0 >> 2 & 3)
    }

    /// Whether no device answered: PCI then reads as all ones, with reserved bits set.
    #[must_use]
    pub const fn absent(self) -> bool {
        self.0 == u32::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_taken_apart_as_the_specification_draws_them() {
        // QEMU's emulated SSD: 2048 entries, 7.5 s, stride 4, NVM commands, pages of 4 KiB to 64 KiB.
        let cap = Capabilities(0x0040_0020_0f01_07ff);
        assert_eq!(cap.queue_entries_max_z(), 2047);
        assert_eq!(cap.timeout_500ms(), 15);
        assert_eq!(cap.doorbell_stride_bytes(), 4);
        assert_eq!(cap.command_sets(), command_sets::NVM);
        assert_eq!(cap.page_bytes_min(), 4096);
        assert_eq!(cap.page_bytes_max(), 65536);
    }

    #[test]
    fn the_bits_of_command_sets_are_37_43_and_44() {
        assert_eq!(Capabilities(1 << 37 | 1 << 43).command_sets(), command_sets::NVM | command_sets::SEVERAL);
        assert_eq!(Capabilities(1 << 44).command_sets(), command_sets::ADMIN_ONLY);
        assert_eq!(Configuration::ENABLED.with_all_command_sets().0, 0x0046_0061);
    }

    #[test]
    fn a_shutdown_notification_changes_nothing_else() {
        let cc = Configuration::ENABLED.with_shutdown(Shutdown::Normal);
        assert_eq!(cc.0, 0x0046_4001);
        assert_eq!(cc.with_shutdown(Shutdown::None), Configuration::ENABLED);
        assert!(cc.shutting_down() && !Configuration::ENABLED.shutting_down());
    }
}

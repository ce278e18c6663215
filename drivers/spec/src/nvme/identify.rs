//! Identify pages. Base 2.0, clause 5.17.2, and NVM 1.0, clause 4.1.5.
//!
//! Fields that Luge does not use stay in byte arrays named after their offset.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// CNS: kind of page. Base 2.0, figure 273.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct Cns(pub u8);

impl Cns {
    /// A namespace: [`IdentifyNamespace`].
    pub const NAMESPACE: Self = Self(0x00);
    /// The controller: [`IdentifyController`].
    pub const CONTROLLER: Self = Self(0x01);
    /// Active namespaces above a given one: [`NamespaceList`].
    pub const ACTIVE_NAMESPACES: Self = Self(0x02);
    /// Identifiers and command set of a namespace: [`NamespaceDescriptors`].
    pub const NAMESPACE_DESCRIPTORS: Self = Self(0x03);
    /// The controller, for one command set: [`IdentifyNvmController`] for the NVM command set.
    pub const COMMAND_SET_CONTROLLER: Self = Self(0x06);
    /// A namespace, for one command set.
    pub const COMMAND_SET_NAMESPACE: Self = Self(0x05);
    /// Active namespaces of one command set above a given one: [`NamespaceList`].
    pub const COMMAND_SET_ACTIVE_NAMESPACES: Self = Self(0x07);
    /// A namespace, in what all command sets share: [`IndependentNamespace`].
    pub const INDEPENDENT_NAMESPACE: Self = Self(0x08);
    /// Namespaces of the subsystem above a given one: [`NamespaceList`].
    pub const ALLOCATED_NAMESPACES: Self = Self(0x10);
    /// A namespace of the subsystem, attached or not: [`IdentifyNamespace`].
    pub const ALLOCATED_NAMESPACE: Self = Self(0x11);
    /// Controllers that a namespace is attached to: [`ControllerList`].
    pub const NAMESPACE_CONTROLLERS: Self = Self(0x12);
    /// Controllers of the subsystem: [`ControllerList`].
    pub const CONTROLLERS: Self = Self(0x13);
    /// Namespaces of the subsystem of one command set above a given one: [`NamespaceList`].
    pub const COMMAND_SET_ALLOCATED_NAMESPACES: Self = Self(0x1a);
    /// A namespace of the subsystem, for one command set.
    pub const COMMAND_SET_ALLOCATED_NAMESPACE: Self = Self(0x1b);
    /// Combinations of I/O command sets: [`CommandSetCombinations`].
    pub const COMMAND_SET_COMBINATIONS: Self = Self(0x1c);
}

/// Namespace identifiers in ascending order; zero after the last.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct NamespaceList(pub [u32; 1024]);

const _: () = assert!(size_of::<NamespaceList>() == 4096);

/// Controller identifiers in ascending order. Base 2.0, clause 4.4.1.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ControllerList {
    /// Number of identifiers.
    pub count: u16,
    /// Identifiers; zero after the last.
    pub ids: [u16; 2047],
}

const _: () = assert!(size_of::<ControllerList>() == 4096);

/// Identify Namespace, for all command sets. Base 2.0, figure 280.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IndependentNamespace {
    /// NSFEAT: features.
    pub features: u8,
    /// NMIC: bit 0 is set if several controllers may access the namespace.
    pub sharing: u8,
    /// RESCAP: supported kinds of reservation.
    pub reservations: u8,
    /// FPI: progress of Format NVM.
    pub format_progress: u8,
    /// ANAGRPID: ANA group.
    pub ana_group: u32,
    /// NSATTR: bit 0 is set if the namespace is write protected.
    pub attributes: u8,
    /// Reserved.
    pub reserved_9: u8,
    /// NVMSETID and ENDGID.
    pub groups: [u16; 2],
    /// NSTAT: bit 0 is set if the namespace is ready.
    pub status: u8,
    /// Rest of the page.
    pub reserved_15: [u8; 4081],
}

const _: () = assert!(size_of::<IndependentNamespace>() == 4096);

/// Combinations of I/O command sets that can be used together, each with a bit per command set (bit 0
/// for the NVM command set); zero after the last. Base 2.0, figure 289.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct CommandSetCombinations(pub [u64; 512]);

const _: () = assert!(size_of::<CommandSetCombinations>() == 4096);

/// Namespace Identification Descriptors, one after another. Base 2.0, figure 277.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct NamespaceDescriptors(pub [u8; 4096]);

impl NamespaceDescriptors {
    /// NIDT of the descriptor with an EUI64.
    pub const EUI64: u8 = 1;
    /// NIDT of the descriptor with an NGUID.
    pub const NGUID: u8 = 2;
    /// NIDT of the descriptor with a UUID.
    pub const UUID: u8 = 3;
    /// NIDT of the descriptor with a namespace's command set.
    pub const COMMAND_SET: u8 = 4;

    /// CSI: the namespace's command set, zero for the NVM command set; none if no descriptor has it.
    #[must_use]
    pub fn command_set(&self) -> Option<u8> {
        let mut left = self.0.as_slice();
        while let [kind, len, _, _, rest @ ..] = left {
            if *len == 0 {
                break;
            }
            if *kind == Self::COMMAND_SET {
                return rest.first().copied();
            }
            left = rest.get(usize::from(*len)..)?;
        }
        None
    }
}

/// Bits of [`IdentifyController::oncs`].
pub mod oncs {
    /// Compare is supported.
    pub const COMPARE: u16 = 1 << 0;
    /// Write Uncorrectable is supported.
    pub const WRITE_UNCORRECTABLE: u16 = 1 << 1;
    /// Dataset Management is supported.
    pub const DATASET_MANAGEMENT: u16 = 1 << 2;
    /// Write Zeroes is supported.
    pub const WRITE_ZEROES: u16 = 1 << 3;
    /// Set Features has a Save field, Get Features a Select field.
    pub const SAVE_AND_SELECT: u16 = 1 << 4;
    /// Reservations are supported.
    pub const RESERVATIONS: u16 = 1 << 5;
    /// The timestamp feature is supported.
    pub const TIMESTAMP: u16 = 1 << 6;
    /// Verify is supported.
    pub const VERIFY: u16 = 1 << 7;
    /// Copy is supported.
    pub const COPY: u16 = 1 << 8;
}

/// Bits of [`IdentifyController::oacs`].
pub mod oacs {
    /// Format NVM is supported.
    pub const FORMAT: u16 = 1 << 1;
    /// Doorbell Buffer Config is supported.
    pub const DOORBELL_BUFFER: u16 = 1 << 8;
}

/// Identify Controller. Base 2.0, figure 275.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IdentifyController {
    /// VID: PCI vendor.
    pub vendor: u16,
    /// SSVID: PCI subsystem vendor.
    pub subsystem_vendor: u16,
    /// SN: serial number, ASCII, padded with spaces.
    pub serial: [u8; 20],
    /// MN: model number, ASCII, padded with spaces.
    pub model: [u8; 40],
    /// FR: firmware revision, ASCII, padded with spaces.
    pub firmware: [u8; 8],
    /// RAB: recommended arbitration burst.
    pub arbitration_burst: u8,
    /// IEEE: the vendor's OUI, least significant byte first.
    pub oui: [u8; 3],
    /// CMIC: bit 1 is set if the subsystem may have several controllers.
    pub multi_path: u8,
    /// MDTS: largest transfer as a power of two of the smallest page; zero for no limit.
    pub transfer_max: u8,
    /// CNTLID: controller identifier.
    pub controller_id: u16,
    /// VER: version, as in the register VS.
    pub version: u32,
    /// RTD3R: time to resume in microseconds.
    pub resume_latency_us: u32,
    /// RTD3E: typical time of a shutdown in microseconds; zero if not reported.
    pub shutdown_latency_us: u32,
    /// OAES: supported asynchronous events.
    pub async_events: u32,
    /// CTRATT: attributes; bit 0 is set for host identifiers of 128 bits.
    pub attributes: u32,
    /// RRLS and following, up to CNTRLTYPE.
    pub reserved_100: [u8; 11],
    /// CNTRLTYPE: 1 for a controller with I/O queues.
    pub controller_type: u8,
    /// FGUID and following, up to OACS.
    pub reserved_112: [u8; 144],
    /// OACS: optional admin commands.
    pub oacs: u16,
    /// ACL: most concurrent Abort commands, zero-based.
    pub abort_limit_z: u8,
    /// AERL: most concurrent Asynchronous Event Requests, zero-based.
    pub event_limit_z: u8,
    /// FRMW: firmware updates.
    pub firmware_updates: u8,
    /// LPA: log page attributes.
    pub log_attributes: u8,
    /// ELPE: entries of the error log, zero-based.
    pub error_log_entries_z: u8,
    /// NPSS: power states, zero-based.
    pub power_states_z: u8,
    /// AVSCC and following, up to TNVMCAP.
    pub reserved_264: [u8; 2],
    /// WCTEMP: temperature in kelvin from which there is a warning.
    pub warning_temperature: u16,
    /// CCTEMP: temperature in kelvin from which operation is critical.
    pub critical_temperature: u16,
    /// Reserved.
    pub reserved_270: [u8; 10],
    /// TNVMCAP: bytes of all namespaces and of what is left for others; 128 bits.
    pub capacity_bytes: [u64; 2],
    /// UNVMCAP: bytes that are left for other namespaces; 128 bits.
    pub unallocated_bytes: [u64; 2],
    /// RPMBS and following, up to KAS.
    pub reserved_312: [u8; 8],
    /// KAS: granularity of the keep alive timer in units of 100 ms; zero without a timer.
    pub keep_alive_100ms: u16,
    /// HCTMA and following, up to SQES.
    pub reserved_322: [u8; 190],
    /// SQES: sizes of submission entries as powers of two, the smallest in the low half.
    pub submission_entry_size: u8,
    /// CQES: sizes of completion entries, likewise.
    pub completion_entry_size: u8,
    /// MAXCMD: most outstanding commands.
    pub outstanding_max: u16,
    /// NN: the largest namespace identifier.
    pub namespaces_max: u32,
    /// ONCS: optional I/O commands, bits of [`oncs`].
    pub oncs: u16,
    /// FUSES: fused operations.
    pub fused: u16,
    /// FNA: attributes of Format NVM.
    pub format_attributes: u8,
    /// VWC: bit 0 is set if there is a volatile write cache.
    pub volatile_write_cache: u8,
    /// AWUN: blocks that a write to any namespace changes as a whole, zero-based.
    pub atomic_normal_z: u16,
    /// AWUPF: the same across a power failure or error.
    pub atomic_power_fail_z: u16,
    /// ICSVSCC and NWPC.
    pub reserved_530: [u8; 2],
    /// ACWU: blocks of an atomic Compare and Write, zero-based.
    pub atomic_compare_z: u16,
    /// OCFS: supported formats of the descriptors of Copy.
    pub copy_formats: u16,
    /// SGLS: support of SGLs.
    pub sgl_support: u32,
    /// MNAN: most namespaces at the same time; zero for as many as there are identifiers.
    pub namespaces_at_once_max: u32,
    /// MAXDNA and following, up to SUBNQN.
    pub reserved_544: [u8; 224],
    /// SUBNQN: name of the subsystem, UTF-8, ended by a zero.
    pub subsystem_name: [u8; 256],
    /// Rest of the page.
    pub reserved_1024: [u8; 3072],
}

const _: () = assert!(size_of::<IdentifyController>() == 4096);

/// Identify Controller for the NVM command set. NVM 1.0, figure 102.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IdentifyNvmController {
    /// VSL: largest Verify, as a power of two of the smallest page; zero for no limit.
    pub verify_max: u8,
    /// WZSL: largest Write Zeroes, likewise.
    pub write_zeroes_max: u8,
    /// WUSL: largest Write Uncorrectable, likewise.
    pub write_uncorrectable_max: u8,
    /// DMRL: ranges of a Dataset Management; zero for no limit.
    pub dataset_ranges_max: u8,
    /// DMRSL: blocks of one range; zero for no limit.
    pub dataset_range_blocks_max: u32,
    /// DMSL: blocks of all ranges together; zero for no limit.
    pub dataset_blocks_max: u64,
    /// Rest of the page.
    pub reserved_16: [u8; 4080],
}

const _: () = assert!(size_of::<IdentifyNvmController>() == 4096);

/// A format that a namespace supports. NVM 1.0, figure 98.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LbaFormat {
    /// MS: bytes of metadata per block.
    pub metadata_bytes: u16,
    /// LBADS: size of a block as a power of two; zero for an unused entry.
    pub block_shift: u8,
    /// RP: relative performance.
    pub performance: u8,
}

const _: () = assert!(size_of::<LbaFormat>() == 4);

/// Identify Namespace. NVM 1.0, figure 97.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IdentifyNamespace {
    /// NSZE: size in blocks; zero if the namespace is not active.
    pub size_blocks: u64,
    /// NCAP: blocks that can be allocated.
    pub capacity_blocks: u64,
    /// NUSE: blocks that are allocated.
    pub used_blocks: u64,
    /// NSFEAT: bit 1 is set if the atomic sizes from [`Self::atomic_normal_z`] on are valid, bit 4 if the
    /// preferred sizes from [`Self::write_granularity_z`] on are.
    pub features: u8,
    /// NLBAF: number of formats, zero-based.
    pub formats_z: u8,
    /// FLBAS: index of the current format; see [`Self::format`].
    pub formatted: u8,
    /// MC: metadata capabilities.
    pub metadata_capabilities: u8,
    /// DPC: capabilities of protection information.
    pub protection_capabilities: u8,
    /// DPS: protection information, zero for none.
    pub protection: u8,
    /// NMIC: bit 0 is set if several controllers may access the namespace.
    pub sharing: u8,
    /// RESCAP: supported kinds of reservation.
    pub reservations: u8,
    /// FPI: progress of Format NVM.
    pub format_progress: u8,
    /// DLFEAT: value that deallocated blocks read as.
    pub deallocated: u8,
    /// NAWUN: blocks that a write changes as a whole, zero-based; zero for the controller's AWUN.
    pub atomic_normal_z: u16,
    /// NAWUPF: the same across a power failure or error; zero for the controller's AWUPF.
    pub atomic_power_fail_z: u16,
    /// NACWU: blocks of an atomic Compare and Write, zero-based; zero for the controller's ACWU.
    pub atomic_compare_z: u16,
    /// NABSN: blocks between boundaries that a write must not cross to be atomic, zero-based; zero for none.
    pub atomic_boundary_normal_z: u16,
    /// NABO: the first block that begins after such a boundary.
    pub atomic_boundary_offset: u16,
    /// NABSPF: the same as NABSN, across a power failure or error.
    pub atomic_boundary_power_fail_z: u16,
    /// NOIOB: blocks between boundaries that reads and writes better do not cross; zero for none.
    pub optimal_boundary: u16,
    /// NVMCAP: size in bytes; 128 bits.
    pub capacity_bytes: [u64; 2],
    /// NPWG: preferred granularity of writes in blocks, zero-based.
    pub write_granularity_z: u16,
    /// NPWA: preferred alignment of writes in blocks, zero-based.
    pub write_alignment_z: u16,
    /// NPDG: preferred granularity of deallocation in blocks, zero-based.
    pub deallocate_granularity_z: u16,
    /// NPDA: preferred alignment of deallocation in blocks, zero-based.
    pub deallocate_alignment_z: u16,
    /// NOWS: optimal size of a write in blocks, zero-based.
    pub optimal_write_z: u16,
    /// MSSRL: the most blocks of a source range of Copy.
    pub copy_range_blocks_max: u16,
    /// MCL: the most blocks of a Copy.
    pub copy_blocks_max: u32,
    /// MSRC: source ranges of a Copy, zero-based.
    pub copy_ranges_max_z: u8,
    /// Reserved, ANAGRPID, and reserved.
    pub reserved_81: [u8; 18],
    /// NSATTR: bit 0 is set if the namespace is write protected.
    pub attributes: u8,
    /// NVMSETID and ENDGID.
    pub groups: [u16; 2],
    /// NGUID: globally unique, big-endian; zero if not reported.
    pub nguid: [u8; 16],
    /// EUI64: globally unique, big-endian; zero if not reported.
    pub eui64: [u8; 8],
    /// Supported formats.
    pub formats: [LbaFormat; 64],
    /// Vendor specific.
    pub reserved_384: [u8; 3712],
}

const _: () = assert!(size_of::<IdentifyNamespace>() == 4096);

impl IdentifyNamespace {
    /// Current format. FLBAS has the low bits of its index in bits 3:0, the high ones in bits 6:5.
    #[must_use]
    pub const fn format(&self) -> LbaFormat {
        let index = self.formatted & 0xf | (self.formatted >> 5 & 3) << 4;
        self.formats[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn controller_fields_are_where_the_specification_puts_them() {
        assert_eq!(offset_of!(IdentifyController, model), 24);
        assert_eq!(offset_of!(IdentifyController, transfer_max), 77);
        assert_eq!(offset_of!(IdentifyController, version), 80);
        assert_eq!(offset_of!(IdentifyController, async_events), 92);
        assert_eq!(offset_of!(IdentifyController, controller_type), 111);
        assert_eq!(offset_of!(IdentifyController, oacs), 256);
        assert_eq!(offset_of!(IdentifyController, power_states_z), 263);
        assert_eq!(offset_of!(IdentifyController, capacity_bytes), 280);
        assert_eq!(offset_of!(IdentifyController, keep_alive_100ms), 320);
        assert_eq!(offset_of!(IdentifyController, event_limit_z), 259);
        assert_eq!(offset_of!(IdentifyController, submission_entry_size), 512);
        assert_eq!(offset_of!(IdentifyController, namespaces_max), 516);
        assert_eq!(offset_of!(IdentifyController, oncs), 520);
        assert_eq!(offset_of!(IdentifyController, volatile_write_cache), 525);
        assert_eq!(offset_of!(IdentifyController, atomic_normal_z), 526);
        assert_eq!(offset_of!(IdentifyController, atomic_power_fail_z), 528);
        assert_eq!(offset_of!(IdentifyController, atomic_compare_z), 532);
        assert_eq!(offset_of!(IdentifyController, sgl_support), 536);
        assert_eq!(offset_of!(IdentifyController, namespaces_at_once_max), 540);
        assert_eq!(offset_of!(IdentifyController, subsystem_name), 768);
    }

    #[test]
    fn namespace_fields_are_where_the_specification_puts_them() {
        assert_eq!(offset_of!(IdentifyNamespace, formatted), 26);
        assert_eq!(offset_of!(IdentifyNamespace, protection), 29);
        assert_eq!(offset_of!(IdentifyNamespace, deallocated), 33);
        assert_eq!(offset_of!(IdentifyNamespace, atomic_normal_z), 34);
        assert_eq!(offset_of!(IdentifyNamespace, atomic_boundary_power_fail_z), 44);
        assert_eq!(offset_of!(IdentifyNamespace, capacity_bytes), 48);
        assert_eq!(offset_of!(IdentifyNamespace, write_granularity_z), 64);
        assert_eq!(offset_of!(IdentifyNamespace, optimal_write_z), 72);
        assert_eq!(offset_of!(IdentifyNamespace, copy_range_blocks_max), 74);
        assert_eq!(offset_of!(IdentifyNamespace, copy_blocks_max), 76);
        assert_eq!(offset_of!(IdentifyNamespace, copy_ranges_max_z), 80);
        assert_eq!(offset_of!(IdentifyNamespace, attributes), 99);
        assert_eq!(offset_of!(IndependentNamespace, ana_group), 4);
        assert_eq!(offset_of!(IndependentNamespace, status), 14);
        assert_eq!(offset_of!(IdentifyNamespace, nguid), 104);
        assert_eq!(offset_of!(IdentifyNamespace, eui64), 120);
        assert_eq!(offset_of!(IdentifyNamespace, formats), 128);
    }

    #[test]
    fn the_command_set_is_found_among_the_descriptors_whatever_their_lengths() {
        let told = |bytes: &[u8]| {
            let mut list = NamespaceDescriptors([0; 4096]);
            list.0[..bytes.len()].copy_from_slice(bytes);
            list.command_set()
        };
        let eui64 = [1, 8, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9];
        assert_eq!(told(&[&eui64[..], &[4, 1, 0, 0, 2]].concat()), Some(2));
        assert_eq!(told(&eui64), None);
        assert_eq!(told(&[4, 0, 0, 0, 2]), None, "a descriptor of no length ends the list");
        assert_eq!(told(&[1, 255].repeat(2048)), None, "a length leads past the end");
    }

    #[test]
    fn a_format_above_the_sixteenth_has_its_upper_bits_elsewhere() {
        let mut namespace = IdentifyNamespace::read_from_bytes(&[0; 4096]).unwrap();
        namespace.formats[0x23] = LbaFormat { block_shift: 12, ..LbaFormat::default() };
        namespace.formatted = 0b0100_0011;
        assert_eq!(namespace.format().block_shift, 12);
    }
}

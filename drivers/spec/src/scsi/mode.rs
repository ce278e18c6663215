//! Parameters of MODE SENSE and MODE SELECT. Clauses 6.11 to 6.14 and 7.5; SBC, clause 6.5.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Code of a page: the low six bits of its first byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct ModePage(pub u8);

impl ModePage {
    /// Read-write error recovery.
    pub const ERROR_RECOVERY: Self = Self(0x01);
    /// Caching.
    pub const CACHING: Self = Self(0x08);
    /// Control.
    pub const CONTROL: Self = Self(0x0a);
    /// Informational exceptions control.
    pub const EXCEPTIONS: Self = Self(0x1c);
    /// All pages.
    pub const ALL: Self = Self(0x3f);
}

/// Bits of CDBs, headers and pages.
pub mod mode_bits {
    /// Code of a page, in the byte that has PS, SPF, or the page control besides.
    pub const PAGE: u8 = 0x3f;
    /// SPF: a page has a subpage code.
    pub const SUBPAGE_FORMAT: u8 = 1 << 6;
    /// PS: the page can be saved.
    pub const SAVABLE: u8 = 1 << 7;
    /// All subpages.
    pub const ALL_SUBPAGES: u8 = 0xff;
    /// DBD: no block descriptor is wanted.
    pub const NO_DESCRIPTOR: u8 = 1 << 3;
    /// LLBAA: a long block descriptor is accepted.
    pub const LONG_ACCEPTED: u8 = 1 << 4;
    /// PF: the pages are those of the standard.
    pub const PAGE_FORMAT: u8 = 1 << 4;
    /// SP: the pages are to be saved.
    pub const SAVE: u8 = 1;
    /// LONGLBA, in the header: block descriptors are long.
    pub const LONG_DESCRIPTORS: u8 = 1;
    /// WP: the medium is write protected.
    pub const WRITE_PROTECTED: u8 = 1 << 7;
    /// DPOFUA: DPO and FUA are supported.
    pub const DPOFUA: u8 = 1 << 4;
    /// WCE of the caching page.
    pub const WRITE_CACHE: u8 = 1 << 2;
    /// D_SENSE of the control page.
    pub const DESCRIPTOR_SENSE: u8 = 1 << 2;
    /// TST of the control page: each nexus has a task set of its own.
    pub const TASK_SET_PER_NEXUS: u8 = 1 << 5;
    /// Queue algorithm modifier of the control page: commands may be reordered.
    pub const REORDERED: u8 = 1 << 4;
}

/// Header of the parameters of the commands of 6 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ModeHeader6 {
    /// Number of bytes that follow this one.
    pub length: u8,
    /// Medium type.
    pub medium: u8,
    /// WP and DPOFUA.
    pub device: u8,
    /// Bytes of block descriptors.
    pub descriptor_bytes: u8,
}

const _: () = assert!(size_of::<ModeHeader6>() == 4);

/// Header of the parameters of the commands of 10 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ModeHeader10 {
    /// Number of bytes that follow this field.
    pub length: U16,
    /// Medium type.
    pub medium: u8,
    /// WP and DPOFUA.
    pub device: u8,
    /// LONGLBA.
    pub flags: u8,
    /// Reserved.
    pub reserved: u8,
    /// Bytes of block descriptors.
    pub descriptor_bytes: U16,
}

const _: () = assert!(size_of::<ModeHeader10>() == 8);

/// Short block descriptor. SBC, clause 6.5.2.2.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ShortDescriptor {
    /// Number of blocks; all bits where they are more.
    pub blocks: U32,
    /// Bytes of a block: the low 24 bits.
    pub block_bytes: U32,
}

const _: () = assert!(size_of::<ShortDescriptor>() == 8);

/// Long block descriptor. SBC, clause 6.5.2.3.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct LongDescriptor {
    /// Number of blocks.
    pub blocks: U64,
    /// Reserved.
    pub reserved: U32,
    /// Bytes of a block.
    pub block_bytes: U32,
}

const _: () = assert!(size_of::<LongDescriptor>() == 16);

/// Read-write error recovery page. SBC, clause 6.5.8.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ErrorRecoveryPage {
    /// PS and the code.
    pub page: u8,
    /// Number of bytes that follow this one.
    pub length: u8,
    /// AWRE, ARRE, TB, RC, EER, PER, DTE, DCR.
    pub flags: u8,
    /// Read retry count.
    pub read_retries: u8,
    /// Obsolete.
    pub obsolete: [u8; 3],
    /// LBPERE.
    pub errors: u8,
    /// Write retry count.
    pub write_retries: u8,
    /// Reserved.
    pub reserved: u8,
    /// Recovery time limit.
    pub recovery_ms: U16,
}

const _: () = assert!(size_of::<ErrorRecoveryPage>() == 12);

/// Caching page. SBC, clause 6.5.5.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct CachingPage {
    /// PS and the code.
    pub page: u8,
    /// Number of bytes that follow this one.
    pub length: u8,
    /// IC, ABPF, CAP, DISC, SIZE, WCE, MF, RCD.
    pub flags: u8,
    /// Retention priorities.
    pub priorities: u8,
    /// Limits of pre-fetches.
    pub prefetch: [U16; 4],
    /// FSW, LBCSS, DRA, NV_DIS.
    pub more_flags: u8,
    /// Number of cache segments.
    pub segments: u8,
    /// Size of a cache segment.
    pub segment_bytes: U16,
    /// Reserved and obsolete.
    pub reserved: [u8; 4],
}

const _: () = assert!(size_of::<CachingPage>() == 20);

/// Control page. Clause 7.5.8.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ControlPage {
    /// PS and the code.
    pub page: u8,
    /// Number of bytes that follow this one.
    pub length: u8,
    /// TST, TMF_ONLY, DPICZ, D_SENSE, GLTSD, RLEC.
    pub flags: u8,
    /// Queue algorithm modifier, NUAR, QERR.
    pub queueing: u8,
    /// VS, RAC, UA_INTLCK_CTRL, SWP.
    pub protection: u8,
    /// ATO, TAS, ATMPE, RWWP, AUTOLOAD MODE.
    pub aborts: u8,
    /// Obsolete.
    pub obsolete: U16,
    /// Busy timeout period.
    pub busy_timeout: U16,
    /// Seconds of an extended self-test.
    pub self_test_seconds: U16,
}

const _: () = assert!(size_of::<ControlPage>() == 12);

/// Informational exceptions control page. SBC, clause 6.5.7.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ExceptionsPage {
    /// PS and the code.
    pub page: u8,
    /// Number of bytes that follow this one.
    pub length: u8,
    /// PERF, EBF, EWASC, DEXCPT, TEST, EBACKERR, LOGERR.
    pub flags: u8,
    /// MRIE.
    pub method: u8,
    /// Interval timer.
    pub interval: U32,
    /// Report count.
    pub count: U32,
}

const _: () = assert!(size_of::<ExceptionsPage>() == 12);

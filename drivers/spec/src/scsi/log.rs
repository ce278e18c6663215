//! Parameters of LOG SENSE. Clause 7.3.

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Code of a page: the low six bits of its first byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct LogPage(pub u8);

impl LogPage {
    /// Supported pages.
    pub const SUPPORTED: Self = Self(0x00);
    /// Write error counters.
    pub const WRITE_ERRORS: Self = Self(0x02);
    /// Read error counters.
    pub const READ_ERRORS: Self = Self(0x03);
    /// Informational exceptions.
    pub const EXCEPTIONS: Self = Self(0x2f);
}

/// Bits and values of CDBs and pages.
pub mod log_bits {
    /// Code of a page, in the byte that has the page control besides.
    pub const PAGE: u8 = 0x3f;
    /// Page control: values since the last power-on.
    pub const CUMULATIVE: u8 = 1 << 6;
    /// SPF: the page has a subpage code.
    pub const SUBPAGE_FORMAT: u8 = 1 << 6;
    /// All subpages.
    pub const ALL_SUBPAGES: u8 = 0xff;
    /// SP: the values are to be saved.
    pub const SAVE: u8 = 1;
    /// Parameter of error counter pages: total bytes processed.
    pub const BYTES_PROCESSED: u16 = 5;
    /// Control byte of a counter: format and linking of an unbounded counter.
    pub const COUNTER: u8 = 0x02;
    /// Control byte of a list parameter in binary format.
    pub const BINARY_LIST: u8 = 0x03;
}

/// Header of a page.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct LogHeader {
    /// DS, SPF and the code.
    pub page: u8,
    /// Code of the subpage.
    pub subpage: u8,
    /// Number of bytes that follow this field.
    pub length: U16,
}

const _: () = assert!(size_of::<LogHeader>() == 4);

/// Header of a parameter.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct LogParameter {
    /// Code of the parameter.
    pub code: U16,
    /// Control byte.
    pub control: u8,
    /// Bytes of the value.
    pub length: u8,
}

const _: () = assert!(size_of::<LogParameter>() == 4);

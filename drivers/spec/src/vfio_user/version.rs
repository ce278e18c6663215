//! VERSION: version and capabilities of client and server.

use serde::{Deserialize, Serialize};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Payload of VERSION, in both directions. JSON may follow, with a NUL at its end: [`VersionData`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Version {
    /// Major version. A client and a server with different ones cannot understand each other.
    pub major: U16,
    /// Minor version: in a reply, no greater than proposed.
    pub minor: U16,
}

const _: () = assert!(size_of::<Version>() == 4);

/// JSON of VERSION. Members that are not known are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionData {
    /// Capabilities of the sender.
    #[serde(default)]
    pub capabilities: Capabilities,
}

/// Capabilities of the sender of VERSION.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Most file descriptors that the sender receives with one message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_msg_fds: Option<u64>,
    /// Most data bytes of a message that reads or writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_data_xfer_size: Option<u64>,
    /// Most mappings of memory at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_dma_maps: Option<u64>,
    /// Page sizes of mappings in bytes, as the sum of powers of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pgsizes: Option<u64>,
    /// Whether REGION_WRITE_MULTI is understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_multiple: Option<bool>,
}

impl Capabilities {
    /// Value of `max_msg_fds` where it is not given.
    pub const MAX_MSG_FDS_DEFAULT: u64 = 1;
    /// Value of `max_data_xfer_size` where it is not given, in bytes.
    pub const MAX_DATA_XFER_SIZE_DEFAULT: u64 = 1 << 20;
    /// Value of `max_dma_maps` where it is not given.
    pub const MAX_DMA_MAPS_DEFAULT: u64 = 65535;
    /// Value of `pgsizes` where it is not given: pages of 4 KiB only.
    pub const PGSIZES_DEFAULT: u64 = 4096;
}

//! Of vhost-user, the in-flight region (specification, section "Inflight I/O tracking"), for split rings, and the
//! message about changes of the configuration space (section "Back-end message types").
//!
//! ```text
//! region of a queue    features u64, version u16, desc_num u16, last_batch_head u16, used_idx u16,
//!                      then a descriptor state for each descriptor, then zeroes up to the alignment
//! descriptor state     inflight u8, padding u8 * 5, next u16, counter u64
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The only version there is. Zero in a region that no back-end has used.
pub const INFLIGHT_VERSION: u16 = 1;

/// Alignment of the regions of queues, in bytes. The specification does not name it; all back-ends use this one.
pub const INFLIGHT_ALIGN: u64 = 64;

/// Start of a queue's region.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct InflightHeader {
    /// Features of the region. None is defined.
    pub features: U64,
    /// [`INFLIGHT_VERSION`].
    pub version: U16,
    /// Number of descriptor states.
    pub desc_num: U16,
    /// Head of the chain that was completed last.
    pub last_batch_head: U16,
    /// Index of the used ring after the last batch whose chains are marked as not in flight.
    pub used_idx: U16,
}

const _: () = assert!(size_of::<InflightHeader>() == 16);

/// State of the chain that begins at one descriptor.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DescriptorState {
    /// 1 while the back-end has the chain, else 0.
    pub inflight: u8,
    /// Zeroes.
    pub padding: [u8; 5],
    /// Head of the chain that was completed before this one.
    pub next: U16,
    /// Place of the chain in the order in which chains were taken.
    pub counter: U64,
}

const _: () = assert!(size_of::<DescriptorState>() == 16);

/// Bytes of a queue's region.
#[must_use]
pub const fn inflight_bytes(desc_num: u16) -> u64 {
    (16 + desc_num as u64 * 16).next_multiple_of(INFLIGHT_ALIGN)
}

/// Flags of a message: version 1.
const VERSION: u32 = 1;
/// Flag of a reply.
const REPLY: u32 = 1 << 2;
/// Flag of a message that is to be acknowledged.
const NEED_REPLY: u32 = 1 << 3;

/// Header of a message that a back-end sends; a whole message if it has no payload.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BackendMessage {
    /// Type of the message.
    pub request: U32,
    /// Version and flags.
    pub flags: U32,
    /// Bytes of the payload.
    pub size: U32,
}

const _: () = assert!(size_of::<BackendMessage>() == 12);

impl BackendMessage {
    /// `VHOST_USER_BACKEND_CONFIG_CHANGE_MSG`.
    pub const CONFIG_CHANGE: u32 = 2;

    /// Message that the configuration space has changed.
    #[must_use]
    pub fn config_change(is_acknowledged: bool) -> Self {
        let flags = if is_acknowledged { VERSION | NEED_REPLY } else { VERSION };
        Self { request: Self::CONFIG_CHANGE.into(), flags: flags.into(), size: 0.into() }
    }
}

/// Acknowledgement of a message about the configuration space.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ConfigAnswer {
    /// Header.
    pub header: BackendMessage,
    /// Zero for success.
    pub value: U64,
}

const _: () = assert!(size_of::<ConfigAnswer>() == 20);

impl ConfigAnswer {
    /// Value of the answer; none if it is an answer to something else, or no answer.
    #[must_use]
    pub fn outcome(&self) -> Option<u64> {
        let BackendMessage { request, flags, size } = self.header;
        let is_reply = flags.get() & (REPLY | 3) == REPLY | VERSION;
        (request.get() == BackendMessage::CONFIG_CHANGE && is_reply && size.get() == 8)
            .then(|| self.value.get())
    }
}

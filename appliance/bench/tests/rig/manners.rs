//! Descriptions of the server in a test, of requests to it and of its answers.

use luge_memory::Span;

/// `VIRTIO_F_VERSION_1` and `VHOST_USER_F_PROTOCOL_FEATURES`.
pub const NEEDED: u64 = 1 << 32 | 1 << 30;
/// `VIRTIO_BLK_F_RO`, `_BLK_SIZE` and `_MQ`.
pub const RO: u64 = 1 << 5;
pub const BLK_SIZE: u64 = 1 << 6;
pub const MQ: u64 = 1 << 12;
/// The protocol features MQ and CONFIG.
pub const PROTOCOL_MQ: u64 = 1;
pub const CONFIG: u64 = 1 << 9;

/// Description that the server gives of itself.
#[derive(Clone, Copy)]
pub struct Manners {
    pub features: u64,
    pub protocol: u64,
    pub queues: u16,
    pub sectors: u64,
    pub block_bytes: u32,
    /// Whether it serves a LUN and no virtio disk.
    pub is_scsi: bool,
    /// Whether it answers any message.
    pub is_mute: bool,
}

impl Default for Manners {
    fn default() -> Self {
        let (features, protocol) = (NEEDED, CONFIG);
        Self {
            features,
            protocol,
            queues: 1,
            sectors: 1024,
            block_bytes: 512,
            is_scsi: false,
            is_mute: false,
        }
    }
}

/// A request, and its number.
pub struct Request {
    pub number: u64,
    pub writes: bool,
    /// Whether the first half of the data is compared, and the second one written.
    pub compares: bool,
    pub sector: u64,
    pub data: Span,
}

/// End of a request.
pub enum Reply {
    Status(u8),
    /// CHECK CONDITION with a sense key; SCSI only.
    Sense(u8),
    /// GOOD, but less data than was asked for; SCSI only.
    Short,
    /// A used element is published, but no status written.
    NoStatus,
    /// A used element of another descriptor.
    Used(u32),
    /// The request is never answered.
    Never,
    /// The connection is closed.
    HangUp,
}

/// A buffer, and whether the server writes to it.
#[derive(Clone, Copy)]
pub struct Buffer {
    pub span: Span,
    pub is_written: bool,
}

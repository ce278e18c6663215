//! The step from the bytes of a request to a command.

use crate::pieces::Pieces;
use luge_spec::virtio::blk::{RequestHeader, RequestType};
use zerocopy::FromBytes;

/// A request's first sector, in units of 512 bytes whatever the block size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sector(pub(super) u64);

/// Command of a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command {
    Read(Sector),
    Write(Sector),
    Flush,
    GetId,
    Discard,
    WriteZeroes,
    /// A command that this device does not have.
    Unknown,
}

impl Command {
    /// Cuts the header off the readable part, and parses it; none if that part is too short.
    #[inline]
    pub(super) fn parse(readable: &mut Pieces<'_>) -> Option<Self> {
        let bytes: [u8; size_of::<RequestHeader>()] = readable.cut_first()?;
        let header = RequestHeader::read_from_bytes(&bytes).ok()?;
        let sector = Sector(header.sector.get());
        Some(match header.kind {
            RequestType::IN => Self::Read(sector),
            RequestType::OUT => Self::Write(sector),
            RequestType::FLUSH => Self::Flush,
            RequestType::GET_ID => Self::GetId,
            RequestType::DISCARD => Self::Discard,
            RequestType::WRITE_ZEROES => Self::WriteZeroes,
            _ => Self::Unknown,
        })
    }
}

//! Commands, as a core or the device server gets them.

use luge_block::{Lba, Operation};

/// An operation on consecutive blocks: one request of the volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockCommand {
    /// Operation of the request.
    pub operation: Operation,
    /// First block.
    pub lba: Lba,
    /// Number of blocks, at least one.
    pub blocks: u32,
    /// Number of blocks of data that cross between initiator and target: data-in of a read, data-out of all others.
    pub data_blocks: u32,
}

/// UNMAP, whose ranges are in data-out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnmapCommand {
    /// Parameter list length: bytes of data-out.
    pub list_bytes: u16,
}

/// Command of an initiator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Operation on consecutive blocks.
    Blocks(BlockCommand),
    /// SYNCHRONIZE CACHE: a flush.
    Flush,
    /// UNMAP.
    Unmap(UnmapCommand),
    /// A command that, as it says, has nothing to do and moves no data: it has succeeded.
    Nothing,
    /// START STOP UNIT that stops: a command of the device server, which then leaves a flush to the core.
    Stop,
    /// A command of the device server.
    Relayed,
}

impl BlockCommand {
    /// Number of bytes of data that cross between initiator and target.
    #[inline]
    #[must_use]
    pub fn data_bytes(&self, block_bytes: u32) -> u64 {
        u64::from(self.data_blocks).saturating_mul(block_bytes.into())
    }
}

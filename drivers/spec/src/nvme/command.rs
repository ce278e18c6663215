//! Submission queue entries: commands from the host to the controller.

use crate::nvme::{AdminOpcode, IoOpcode, SglDescriptor};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A submission queue entry: one command. Base 2.0, clause 3.3.3.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SubmissionEntry {
    /// [`AdminOpcode`] on the admin queue, [`IoOpcode`] on others.
    pub opcode: u8,
    /// FUSE and PSDT: zero for a command that is not fused and has PRPs.
    pub flags: u8,
    /// CID: identifier that the completion returns.
    pub command_id: u16,
    /// NSID: namespace; zero for none, all ones for all.
    pub namespace: u32,
    /// CDW2 and CDW3.
    pub cdw2: [u32; 2],
    /// MPTR: address of metadata.
    pub metadata: u64,
    /// PRP1: address of the data, up to the end of a page.
    pub prp1: u64,
    /// PRP2: the data's second page, or a list of all pages but the first.
    pub prp2: u64,
    /// CDW10 to CDW15: meaning depends on the opcode.
    pub cdw10: [u32; 6],
}

const _: () = assert!(size_of::<SubmissionEntry>() == 64);

/// FUSE: part of a command in a fused pair. Bits 0 and 1 of [`SubmissionEntry::flags`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Fuse(pub u8);

impl Fuse {
    /// A command of its own.
    pub const NORMAL: Self = Self(0);
    /// First command of a pair.
    pub const FIRST: Self = Self(1);
    /// Second command of a pair.
    pub const SECOND: Self = Self(2);
}

/// PSDT: kind of a command's data pointer. Bits 6 and 7 of [`SubmissionEntry::flags`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct DataPointerKind(pub u8);

impl DataPointerKind {
    /// PRP entries.
    pub const PRP: Self = Self(0);
    /// An SGL; metadata is a contiguous buffer.
    pub const SGL: Self = Self(1);
    /// An SGL; metadata has an SGL of its own.
    pub const SGL_AND_METADATA_SGL: Self = Self(2);
}

/// Bits of CDW12 of reads, writes and write-zeroes. NVM 1.0, clauses 3.2.4, 3.2.6 and 3.2.8.
pub mod io_flags {
    /// FUA: the command completes only when its data is on the media.
    pub const FORCE_UNIT_ACCESS: u32 = 1 << 30;
    /// DEAC: zeroed blocks may be deallocated.
    pub const DEALLOCATE: u32 = 1 << 25;
    /// AD, in CDW11 of Dataset Management: the contents of the ranges are no longer needed.
    pub const ATTRIBUTE_DEALLOCATE: u32 = 1 << 2;
    /// PRINFO: protection information.
    pub const PROTECTION: u32 = 0xf << 26;
    /// PRINFOR of Copy: protection information of the source.
    pub const READ_PROTECTION: u32 = 0xf << 12;
    /// DTYPE of a write: type of directive.
    pub const DIRECTIVE: u32 = 0xf << 20;
}

impl SubmissionEntry {
    /// An admin command with CDW10 and CDW11.
    #[must_use]
    pub const fn admin(opcode: AdminOpcode, cdw10: u32, cdw11: u32) -> Self {
        Self { opcode: opcode.0, cdw10: [cdw10, cdw11, 0, 0, 0, 0], ..Self::EMPTY }
    }

    /// An I/O command on `blocks_z` + 1 blocks from `lba`, with `flags` of [`io_flags`].
    #[inline]
    #[must_use]
    pub const fn io(opcode: IoOpcode, lba: u64, blocks_z: u16, flags: u32) -> Self {
        let (low, high) = ((lba & 0xffff_ffff) as u32, (lba >> 32) as u32);
        Self { opcode: opcode.0, cdw10: [low, high, blocks_z as u32 | flags, 0, 0, 0], ..Self::EMPTY }
    }

    const EMPTY: Self = Self {
        opcode: 0,
        flags: 0,
        command_id: 0,
        namespace: 0,
        cdw2: [0; 2],
        metadata: 0,
        prp1: 0,
        prp2: 0,
        cdw10: [0; 6],
    };

    /// The entry as eight words of memory.
    #[inline]
    #[must_use]
    pub const fn to_words(self) -> [u64; 8] {
        zerocopy::transmute!(self)
    }

    /// The entry in eight words of memory.
    #[inline]
    #[must_use]
    pub const fn from_words(words: [u64; 8]) -> Self {
        zerocopy::transmute!(words)
    }

    /// FUSE: part in a fused pair.
    #[must_use]
    pub const fn fuse(&self) -> Fuse {
        Fuse(self.flags & 3)
    }

    /// PSDT: kind of the data pointer.
    #[must_use]
    pub const fn data_pointer_kind(&self) -> DataPointerKind {
        DataPointerKind(self.flags >> 6)
    }

    /// SGL1: the descriptor where PRP1 and PRP2 are otherwise.
    #[must_use]
    pub const fn sgl(&self) -> SglDescriptor {
        SglDescriptor::from_words([self.prp1, self.prp2])
    }

    /// SLBA of an I/O command: CDW10 and CDW11.
    #[must_use]
    pub const fn lba(&self) -> u64 {
        let [low, high, ..] = self.cdw10;
        low as u64 | (high as u64) << 32
    }
}

/// One range of Dataset Management. NVM 1.0, figure 38.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DatasetRange {
    /// Hints on its use.
    pub attributes: u32,
    /// Number of blocks.
    pub blocks: u32,
    /// First block.
    pub lba: u64,
}

const _: () = assert!(size_of::<DatasetRange>() == 16);

impl DatasetRange {
    /// The range as two words of memory.
    #[inline]
    #[must_use]
    pub const fn to_words(self) -> [u64; 2] {
        zerocopy::transmute!(self)
    }

    /// The range in two words of memory.
    #[must_use]
    pub const fn from_words(words: [u64; 2]) -> Self {
        zerocopy::transmute!(words)
    }
}

/// Source range of Copy, in format 0. NVM 1.0, figure 32.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CopySource {
    /// Reserved.
    pub reserved_0: u64,
    /// SLBA: first block.
    pub lba: u64,
    /// NLB: number of blocks, zero-based.
    pub blocks_z: u16,
    /// Reserved.
    pub reserved_18: [u8; 6],
    /// Protection information.
    pub protection: u64,
}

const _: () = assert!(size_of::<CopySource>() == 32);

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn fields_are_where_the_specification_puts_them() {
        assert_eq!(offset_of!(SubmissionEntry, command_id), 2);
        assert_eq!(offset_of!(SubmissionEntry, namespace), 4);
        assert_eq!(offset_of!(SubmissionEntry, prp1), 24);
        assert_eq!(offset_of!(SubmissionEntry, cdw10), 40);
    }

    #[test]
    fn a_write_consists_of_the_words_in_the_specification() {
        let flags = io_flags::FORCE_UNIT_ACCESS;
        let entry = SubmissionEntry {
            command_id: 0x1234,
            namespace: 7,
            prp1: 0x1000,
            prp2: 0x2000,
            ..SubmissionEntry::io(IoOpcode::WRITE, 0x0000_0005_0000_0009, 7, flags)
        };
        let words = [0x0000_0007_1234_0001, 0, 0, 0x1000, 0x2000, 0x0000_0005_0000_0009, 0x4000_0007, 0];
        assert_eq!(entry.to_words(), words);
        assert_eq!(SubmissionEntry::from_words(words), entry);
        assert_eq!(entry.lba(), 0x0000_0005_0000_0009);
    }
}

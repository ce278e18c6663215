//! A split virtqueue as its driver writes it, blindly: what it has to be is up to its user.

use super::memory::Memory;
use crate::error::TestError;

/// Flag of a descriptor: another one follows.
pub(crate) const NEXT: u16 = 1;
/// Flag of a descriptor: the device writes.
pub(crate) const WRITE: u16 = 2;
/// Flag of a descriptor: it names a table of descriptors.
pub(crate) const INDIRECT: u16 = 4;

/// Granularity of the available index. Memory is written by the kernel, byte by byte as it may be: an index
/// whose low byte never changes has no state in between.
const STEP: u16 = 256;

/// A descriptor.
#[derive(Clone, Copy, Default)]
pub(crate) struct Descriptor {
    pub(crate) address: u64,
    pub(crate) len: u32,
    pub(crate) flags: u16,
    pub(crate) next: u16,
}

impl Descriptor {
    fn bytes(self) -> [u8; 16] {
        let rest = u64::from(self.len) | u64::from(self.flags) << 32 | u64::from(self.next) << 48;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        bytes[8..].copy_from_slice(&rest.to_le_bytes());
        bytes
    }
}

/// Bytes of descriptors in a table.
pub(crate) fn table(descriptors: impl IntoIterator<Item = Descriptor>) -> Vec<u8> {
    descriptors.into_iter().flat_map(Descriptor::bytes).collect()
}

/// A ring at an offset of a memory file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    /// Number of descriptors: a power of two.
    pub(crate) size: u16,
    /// Offset of the descriptors; the rings follow.
    pub(crate) at: u64,
}

impl Ring {
    /// Bytes of a ring, in whole pages.
    pub(crate) fn bytes(size: u16) -> u64 {
        (u64::from(size) * 26 + 4096).next_multiple_of(4096)
    }

    /// Rings of one size, one after the other from offset `at`.
    pub(crate) fn row(count: u16, size: u16, at: u64) -> Vec<Self> {
        (0..u64::from(count)).map(|n| Self { size, at: at + n * Self::bytes(size) }).collect()
    }

    pub(crate) fn available(&self) -> u64 {
        self.at + u64::from(self.size) * 16
    }

    pub(crate) fn used(&self) -> u64 {
        self.available() + (u64::from(self.size) * 2 + 6).next_multiple_of(64)
    }

    /// Offset behind the ring.
    pub(crate) fn end(&self) -> u64 {
        self.at + Self::bytes(self.size)
    }

    /// Writes descriptors from the first one on.
    pub(crate) fn describe(
        &self,
        memory: &Memory,
        descriptors: impl IntoIterator<Item = Descriptor>,
    ) -> Result<(), TestError> {
        memory.write(self.at, &table(descriptors))
    }

    /// Fills the available ring: `head(n)` is the head of chain number `n`.
    pub(crate) fn queue(&self, memory: &Memory, head: impl Fn(u16) -> u16) -> Result<(), TestError> {
        let heads: Vec<u8> = (0..self.size).flat_map(|n| head(n).to_le_bytes()).collect();
        memory.write(self.available() + 4, &heads)
    }

    /// Makes about `count` chains available beyond those that were used; `count` is a multiple of 256.
    pub(crate) fn offer(&self, memory: &Memory, count: u16) -> Result<(), TestError> {
        let used = memory.read_u16(self.used() + 2)? / STEP * STEP;
        memory.write(self.available() + 2, &used.wrapping_add(count).to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_of_rings_do_not_overlap() {
        for size in [256, 1024, 32768] {
            let [first, second] = Ring::row(2, size, 4096)[..] else { panic!("two rings") };
            assert!(first.used() + u64::from(size) * 8 + 6 <= first.end(), "{size}");
            assert_eq!(second.at, first.end(), "{size}");
            assert!(first.used().is_multiple_of(4), "{size}");
        }
    }

    #[test]
    fn chains_are_offered_beyond_those_that_were_used() {
        let memory = Memory::new(1 << 20).unwrap();
        let ring = Ring { size: 1024, at: 4096 };
        memory.write(ring.used() + 2, &515_u16.to_le_bytes()).unwrap();
        ring.offer(&memory, 768).unwrap();
        assert_eq!(memory.read_u16(ring.available() + 2).unwrap(), 512 + 768);
    }
}

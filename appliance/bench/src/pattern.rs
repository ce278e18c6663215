//! Data that shows whether it is the right data: each unit (a request's worth of blocks)
//! carries its number, how often it was written, and a CRC32C of all of it.

use luge_memory::Span;

/// Bytes of number and count at the start.
const HEAD: usize = 16;
/// Bytes of the CRC at the end.
const TAIL: usize = 4;

/// What each unit should hold.
pub(crate) struct Pattern {
    /// How often each unit was written; zero: its content is unknown.
    written: Vec<u32>,
    bytes: Vec<u8>,
}

impl Pattern {
    pub(crate) fn new(units: usize, unit_bytes: u32) -> Self {
        let filler = (0..unit_bytes).map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes()[3]);
        Self { written: vec![0; units], bytes: filler.collect() }
    }

    /// Writes the next content of `unit` into `data`.
    pub(crate) fn fill(&mut self, unit: usize, data: Span) {
        self.written[unit] += 1;
        let count = u64::from(self.written[unit]);
        let body = self.bytes.len() - TAIL;
        self.bytes[..8].copy_from_slice(&(unit as u64).to_le_bytes());
        self.bytes[8..HEAD].copy_from_slice(&count.to_le_bytes());
        let crc = crc32c::crc32c(&self.bytes[..body]);
        self.bytes[body..].copy_from_slice(&crc.to_le_bytes());
        data.write(&self.bytes);
    }

    /// What is wrong with what was read of `unit`, if anything.
    pub(crate) fn check(&mut self, unit: usize, data: Span) -> Result<(), &'static str> {
        let count = self.written[unit];
        if count == 0 {
            return Ok(());
        }
        data.read(&mut self.bytes);
        let (body, crc) = self.bytes.split_at(self.bytes.len() - TAIL);
        if crc32c::crc32c(body).to_le_bytes() != crc {
            return Err("its checksum is wrong");
        }
        if body[..8] != (unit as u64).to_le_bytes() {
            return Err("it holds another block's data");
        }
        if body[8..HEAD] != u64::from(count).to_le_bytes() {
            return Err("it holds data of an older write");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;

    #[test]
    fn data_that_is_not_the_last_written_of_its_unit_is_seen() {
        let mut memory = Arena::new(4096).unwrap();
        let (a, b) = (memory.take(512, 512).0, memory.take(512, 512).0);
        let mut pattern = Pattern::new(4, 512);
        assert_eq!(pattern.check(1, a), Ok(()), "unknown content is not judged");
        pattern.fill(1, a);
        pattern.fill(2, b);
        assert_eq!((pattern.check(1, a), pattern.check(2, b)), (Ok(()), Ok(())));
        assert_eq!(pattern.check(2, a), Err("it holds another block's data"));
        pattern.fill(1, b);
        assert_eq!(pattern.check(1, a), Err("it holds data of an older write"));
        b.slice(100, 1).unwrap().write(&[0xff]);
        assert_eq!(pattern.check(1, b), Err("its checksum is wrong"));
    }
}

//! Data that carries what is needed to check it.
//!
//! Each unit (a request's worth of blocks) carries in each of its sectors the unit's number, how
//! often it was written, and the run that wrote it; at its end, a CRC32C of all of it. So a
//! sector that is another unit's, an older one or damaged is seen, in this run and in a later one.

use luge_memory::Span;
use std::time::{SystemTime, UNIX_EPOCH};

const SECTOR: usize = 512;
/// Bytes of the CRC at the end.
const TAIL: usize = 4;
/// Units of the largest disk that is checked: 4 GiB of counts, if all are written.
pub(crate) const UNITS_MAX: u64 = 1 << 30;

/// Expected contents of each unit.
pub(crate) struct Pattern {
    /// Times that each unit was written in this run.
    written: Vec<u32>,
    /// A number that no other run has.
    run: u32,
    expected: Vec<u8>,
    found: Vec<u8>,
}

/// Start of each sector of a unit.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Head {
    unit: u64,
    count: u32,
    run: u32,
}

impl Head {
    fn of(sector: &[u8]) -> Self {
        let word = |at: usize| [0, 1, 2, 3].map(|i| sector[at + i]);
        let unit = std::array::from_fn(|i| sector[i]);
        let (count, run) = (u32::from_le_bytes(word(8)), u32::from_le_bytes(word(12)));
        Self { unit: u64::from_le_bytes(unit), count, run }
    }

    fn write(self, sector: &mut [u8]) {
        sector[..8].copy_from_slice(&self.unit.to_le_bytes());
        sector[8..12].copy_from_slice(&self.count.to_le_bytes());
        sector[12..16].copy_from_slice(&self.run.to_le_bytes());
    }
}

impl Pattern {
    pub(crate) fn new(units: usize, unit_bytes: u32) -> Self {
        let filler = (0..unit_bytes).map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes()[3]);
        let expected: Vec<u8> = filler.collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = crc32c::crc32c(&now.as_nanos().to_le_bytes());
        Self { written: vec![0; units], run, found: vec![0; expected.len()], expected }
    }

    /// Whether this run has written `unit`.
    pub(crate) fn is_written(&self, unit: usize) -> bool {
        self.written[unit] > 0
    }

    /// Writes the next content of `unit` into `data`.
    pub(crate) fn fill(&mut self, unit: usize, data: Span) {
        self.written[unit] = self.written[unit].wrapping_add(1).max(1);
        self.compose(Head { unit: unit as u64, count: self.written[unit], run: self.run });
        data.write(&self.expected);
    }

    /// Checks data that was read of `unit`: what this run wrote last, or what any other run did if this one did
    /// not. The error says what is wrong.
    pub(crate) fn check(&mut self, unit: usize, data: Span) -> Result<(), String> {
        data.read(&mut self.found);
        let (body, end) = self.found.split_at(self.found.len() - TAIL);
        let is_whole = crc32c::crc32c(body).to_le_bytes() == end;
        let (head, count) = (Head::of(body), self.written[unit]);
        let own = Head { unit: unit as u64, count, run: self.run };
        match (is_whole, count) {
            (true, 0) if head.unit == own.unit => Ok(()),
            (true, 1..) if head == own => Ok(()),
            (true, _) if head.unit != own.unit => Err(format!("it holds request {}", head.unit)),
            (true, _) if head.run != own.run => Err("it holds what an earlier run wrote".into()),
            (true, _) => Err(format!("it holds write {}, not write {count}", head.count)),
            (false, 0) => Err("it holds nothing that `--verify` wrote, or is damaged".into()),
            (false, _) => Err(self.difference(own)),
        }
    }

    /// The first byte that is not what was written.
    fn difference(&mut self, own: Head) -> String {
        self.compose(own);
        let pairs = self.found.iter().zip(&self.expected).enumerate();
        let mut wrong = pairs.filter(|(_, (found, expected))| found != expected);
        let first = wrong.next().map(|(at, (found, expected))| {
            format!("byte {at} of it is {found:#04x}, not {expected:#04x}, and {} more", wrong.count())
        });
        first.unwrap_or_default()
    }

    fn compose(&mut self, head: Head) {
        self.expected.chunks_exact_mut(SECTOR).for_each(|sector| head.write(sector));
        let (body, end) = self.expected.split_at_mut(self.found.len() - TAIL);
        end.copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;

    /// Two buffers of a unit each.
    fn buffers(unit_bytes: u32) -> (Arena, [Span; 2]) {
        let mut memory = Arena::alone(8192).unwrap();
        let spans = [(); 2].map(|()| memory.take(unit_bytes, 512).0);
        (memory, spans)
    }

    fn wrong(pattern: &mut Pattern, unit: usize, data: Span) -> String {
        pattern.check(unit, data).unwrap_err()
    }

    #[test]
    fn data_that_is_not_the_last_written_of_its_unit_is_seen() {
        let (_memory, [a, b]) = buffers(512);
        let mut pattern = Pattern::new(4, 512);
        pattern.fill(1, a);
        pattern.fill(2, b);
        assert_eq!(pattern.check(1, a), Ok(()));
        assert_eq!(pattern.check(2, b), Ok(()));
        assert_eq!(wrong(&mut pattern, 2, a), "it holds request 1");
        pattern.fill(1, b);
        assert_eq!(wrong(&mut pattern, 1, a), "it holds write 1, not write 2");
        let was = b.slice(100, 1).unwrap();
        was.write(&[0xff]);
        let sentence = wrong(&mut pattern, 1, b);
        assert!(sentence.starts_with("byte 100 of it is 0xff, not 0x"), "{sentence}");
    }

    #[test]
    fn a_later_run_knows_its_own_writes_from_those_of_an_earlier_one() {
        let (_memory, [a, b]) = buffers(512);
        let (mut earlier, mut later) = (Pattern::new(4, 512), Pattern::new(4, 512));
        later.run = !earlier.run;
        earlier.fill(3, a);
        assert_eq!(later.check(3, a), Ok(()), "any run's data will do where this one wrote none");
        assert_eq!(wrong(&mut later, 2, a), "it holds request 3");
        assert!(wrong(&mut later, 0, b).contains("nothing that `--verify` wrote"));
        later.fill(3, b);
        assert_eq!(wrong(&mut later, 3, a), "it holds what an earlier run wrote");
    }

    #[test]
    fn a_sector_of_another_unit_is_seen_wherever_it_is() {
        let (_memory, [a, b]) = buffers(4096);
        let mut pattern = Pattern::new(4, 4096);
        pattern.fill(0, a);
        pattern.fill(1, b);
        for sector in 0..8 {
            let (mut own, mut others) = ([0; 512], [0; 512]);
            let at = a.slice(sector * 512, 512).unwrap();
            at.read(&mut own);
            b.slice(sector * 512, 512).unwrap().read(&mut others);
            at.write(&others);
            let sentence = wrong(&mut pattern, 0, a);
            assert!(sentence.starts_with(&format!("byte {} of it is 0x01", sector * 512)), "{sentence}");
            at.write(&own);
        }
        assert_eq!(pattern.check(0, a), Ok(()));
    }
}

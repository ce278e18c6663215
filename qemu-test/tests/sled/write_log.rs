//! Log of the writes and flushes that an emulated SSD got, in their order.
//!
//! The format is that of Linux's dm-log-writes: a superblock, then entries, each a header that fills a
//! sector and the data that was written. All numbers are little-endian.

use std::io;
use std::path::Path;

/// First eight bytes of a log.
const MAGIC: u64 = 0x006a_7366_7773_6872;

/// Flags of an entry.
const FLUSH: u64 = 1 << 0;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Data written at an offset in bytes.
    Write {
        /// Offset on the SSD in bytes.
        at: u64,
        /// The data.
        data: Vec<u8>,
        /// Whether it was on the media when it ended.
        fua: bool,
    },
    /// All that was written before is on the media.
    Flush,
    /// Data that is no longer needed.
    Discard,
}

/// Reads the log in a file.
///
/// # Errors
/// If the file cannot be read or is not such a log.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let log = std::fs::read(path)?;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is no log", path.display()));
    parse(&log).ok_or_else(invalid)
}

fn parse(log: &[u8]) -> Option<Vec<Entry>> {
    let (magic, version, entries) = (u64_at(log, 0)?, u64_at(log, 8)?, u64_at(log, 16)?);
    let sector = usize::try_from(u32::from_le_bytes(log.get(24..28)?.try_into().ok()?)).ok()?;
    if magic != MAGIC || version != 1 {
        return None;
    }
    let mut rest = log.get(sector..)?;
    (0..entries).map(|_| next(&mut rest, sector)).collect()
}

/// Takes the next entry.
fn next(rest: &mut &[u8], sector: usize) -> Option<Entry> {
    let (header, after) = rest.split_at_checked(sector)?;
    let (at, sectors, flags) = (u64_at(header, 0)?, u64_at(header, 8)?, u64_at(header, 16)?);
    let sector_u64 = u64::try_from(sector).ok()?;
    let has_data = flags & (DISCARD | FLUSH) == 0;
    let len = if has_data { usize::try_from(sectors.checked_mul(sector_u64)?).ok()? } else { 0 };
    let (data, after) = after.split_at_checked(len)?;
    *rest = after;
    Some(match flags {
        _ if flags & FLUSH != 0 => Entry::Flush,
        _ if flags & DISCARD != 0 => Entry::Discard,
        _ => Entry::Write { at: at.checked_mul(sector_u64)?, data: data.to_vec(), fua: flags & FUA != 0 },
    })
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(words: &[u64], fill: u8) -> Vec<u8> {
        let mut block: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        block.resize(512, fill);
        block
    }

    #[test]
    fn entries_are_parsed_in_their_order() {
        let log = [
            block(&[MAGIC, 1, 4, 512], 0),
            block(&[9, 1, FUA, 0], 0),
            block(&[], 7),
            block(&[0, 0, FLUSH, 0], 0),
            block(&[5, 8, DISCARD, 0], 0),
            block(&[3, 2, 0, 0], 0),
            block(&[], 8),
            block(&[], 8),
        ]
        .concat();
        let write = |at, len, fill, fua| Entry::Write { at, data: vec![fill; len], fua };
        let expected =
            [write(9 * 512, 512, 7, true), Entry::Flush, Entry::Discard, write(3 * 512, 1024, 8, false)];
        assert_eq!(parse(&log).unwrap(), expected);
        assert_eq!(parse(&log[..log.len() - 1]), None, "an entry that is cut");
        assert_eq!(parse(&log[512..]), None, "no superblock");
    }
}

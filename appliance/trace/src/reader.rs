//! Reading a trace, of a process that runs or has ended. The file is not trusted: it may be cut off, or anything.

use crate::assembly::Assembly;
use crate::entry::{ENTRY_BYTES, Entry};
use crate::file::{CORES_AT, HEADER_BYTES, MAGIC, OTHERS, RINGS_MAX};
use crate::record::{Record, Source};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Most entries of a ring that are read.
const ENTRIES_MAX: usize = 1 << 16;

/// Most bytes that are read of a file.
const BYTES_MAX: u64 = 1 << 30;

/// Error of reading a trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file is something else.
    #[error("it is no trace of Luge: `luge serve --trace FILE` writes one")]
    Foreign,
    /// The file ends in its header.
    #[error("it is cut off after {0} bytes: nothing of the trace is left")]
    CutOff(usize),
}

/// Events of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Identifier of the process.
    pub process: u64,
    /// Events in the order of time.
    pub records: Vec<Record>,
    /// Number of bytes that are missing at the end of the file.
    pub missing_bytes: u64,
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(TraceError::Foreign);
        }
        let mut bytes = Vec::new();
        let mut file = file.take(BYTES_MAX);
        file.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut bytes)?;
        if bytes.starts_with(MAGIC) {
            file.read_to_end(&mut bytes)?;
        }
        Self::parse(&bytes)
    }

    /// Trace of this process.
    pub(crate) fn of_this_process(mut records: Vec<Record>) -> Self {
        records.sort_by_key(|record| record.time_ns);
        Self { process: u64::from(std::process::id()), records, missing_bytes: 0 }
    }

    /// Parses the bytes of a trace.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TraceError> {
        if !bytes.starts_with(MAGIC) {
            return Err(TraceError::Foreign);
        }
        let Some((header, mut rest)) = bytes.split_at_checked(HEADER_BYTES) else {
            return Err(TraceError::CutOff(bytes.len()));
        };
        let [rings, entries, process] = [(8, 4), (12, 4), (16, 8)].map(|(at, len)| number(header, at, len));
        let rings =
            usize::try_from(rings).ok().filter(|&rings| rings <= RINGS_MAX).ok_or(TraceError::Foreign)?;
        let entries = usize::try_from(entries).ok().filter(|entries| (1..=ENTRIES_MAX).contains(entries));
        let ring_bytes = entries.ok_or(TraceError::Foreign)? * ENTRY_BYTES;
        let mut records = Vec::new();
        for ring in 0..rings {
            let (here, after) = rest.split_at_checked(ring_bytes).unwrap_or((rest, &[]));
            let core = u16::try_from(number(header, CORES_AT + ring * 2, 2)).unwrap_or(OTHERS);
            records.extend(records_of(here, Source::of(core)));
            rest = after;
        }
        records.sort_by_key(|record| record.time_ns);
        let whole = (HEADER_BYTES + rings * ring_bytes) as u64;
        Ok(Self { process, records, missing_bytes: whole.saturating_sub(bytes.len() as u64) })
    }
}

/// Little-endian number of `len` bytes at `at`.
fn number(header: &[u8], at: usize, len: usize) -> u64 {
    let bytes = header.get(at..at + len).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Events of a ring in their order. Those whose first entries were overwritten are left out.
fn records_of(ring: &[u8], source: Source) -> Vec<Record> {
    let (entries, _) = ring.as_chunks::<ENTRY_BYTES>();
    let mut entries: Vec<Entry> = entries.iter().filter_map(Entry::parse).collect();
    entries.sort_by_key(|entry| entry.sequence);
    let mut assembly = Assembly::new(source);
    entries.into_iter().filter_map(|entry| assembly.add(entry)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    /// A header with numbers that a writer would not write.
    fn header(rings: u32, entries: u32) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(rings.to_le_bytes());
        bytes.extend(entries.to_le_bytes());
        bytes.resize(HEADER_BYTES, 0);
        bytes
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for (rings, entries) in [(u32::MAX, 1), (1, 0), (1, u32::MAX), (3000, 1)] {
            let trace = Trace::parse(&header(rings, entries));
            assert!(matches!(trace, Err(TraceError::Foreign)), "{rings} rings of {entries}");
        }
    }

    #[test]
    fn any_bytes_behind_a_header_are_read_without_harm() {
        for seed in 0..64_u64 {
            let mut number = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = || {
                number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                // Small numbers are those that mean something.
                if number >> 63 == 0 { number >> 61 } else { number }
            };
            let mut bytes = header(4, 16);
            bytes.extend((0..4 * 16 * 8).flat_map(|_| next().to_le_bytes()));
            let trace = Trace::parse(&bytes).unwrap();
            assert!(trace.records.len() <= 64, "more events than entries");
        }
        let mut bytes = header(1, 1);
        bytes.extend([0xff; ENTRY_BYTES]);
        assert!(
            Trace::parse(&bytes).unwrap().records.is_empty(),
            "the end of an event without its beginning"
        );
    }
}

//! What to do.

use crate::BenchError;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;

/// What the requests do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Direction {
    /// Sequential reads.
    Read,
    /// Sequential writes.
    Write,
    /// Reads at random.
    RandRead,
    /// Writes at random.
    RandWrite,
    /// Reads and writes at random, half and half.
    RandRw,
}

impl Direction {
    /// Whether blocks are chosen at random.
    #[must_use]
    pub const fn is_random(self) -> bool {
        matches!(self, Self::RandRead | Self::RandWrite | Self::RandRw)
    }

    /// Whether anything is written.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::RandWrite | Self::RandRw)
    }
}

/// How data is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Verify {
    /// Each block carries its number, how often it was written, and a CRC32C of all of it.
    Crc32c,
}

/// A load. Its letters are those of `fio`.
#[derive(Clone, Debug, Args, Serialize)]
pub struct Options {
    /// The vhost-user-blk socket of the disk
    pub socket: PathBuf,
    /// What the requests do
    #[arg(long, value_enum, default_value = "randread")]
    pub rw: Direction,
    /// Bytes of a request: 512, 4k, 1m
    #[arg(long, default_value = "4k", value_parser = bytes)]
    pub bs: u32,
    /// Requests in flight on each queue
    #[arg(long, default_value_t = 32)]
    pub iodepth: u16,
    /// Queues; one thread drives them all
    #[arg(long, default_value_t = 1)]
    pub queues: u16,
    /// Seconds to run
    #[arg(long, default_value_t = 5.0)]
    pub runtime: f64,
    /// Requests a second at most, over all queues; unlimited unless given
    #[arg(long)]
    pub rate: Option<u64>,
    /// Check what is read. Writes first where the direction writes
    #[arg(long, value_enum)]
    pub verify: Option<Verify>,
    /// The CPU to run on; the last one the process may use unless given
    #[arg(long)]
    pub cpu: Option<u16>,
    /// Seed of the choice of blocks
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Do not negotiate EVENT_IDX, which Linux's driver uses wherever it is offered
    #[arg(long)]
    pub no_event_idx: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// The largest ring that every server takes.
const RING_MAX: u32 = 1024;

impl Options {
    /// Size of each ring: three descriptors for a request, a power of two.
    pub(crate) fn ring_size(&self) -> u32 {
        (u32::from(self.iodepth) * 3).next_power_of_two()
    }

    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let wrong = |what: String| Err(BenchError::Options(what));
        if self.bs == 0 || !self.bs.is_multiple_of(512) {
            return wrong(format!("--bs {} is not a multiple of 512", self.bs));
        }
        if self.iodepth == 0 || self.ring_size() > RING_MAX {
            return wrong(format!("--iodepth {} is not from 1 to {}", self.iodepth, RING_MAX / 3));
        }
        if self.queues == 0 || self.queues > 256 {
            return wrong(format!("--queues {} is not from 1 to 256", self.queues));
        }
        if !(self.runtime > 0.0 && self.runtime <= 86400.0) {
            return wrong(format!("--runtime {} is not from 0 to 86400 seconds", self.runtime));
        }
        if self.rate == Some(0) {
            return wrong("--rate 0 would never send a request".into());
        }
        Ok(())
    }
}

/// `512`, `4k`, `1m` as bytes.
fn bytes(text: &str) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, unit) = match lower.strip_suffix(['k', 'm']) {
        Some(digits) => (digits, if lower.ends_with('k') { 1 << 10 } else { 1 << 20 }),
        None => (lower.as_str(), 1),
    };
    let number: u32 = digits.parse().map_err(|_| format!("{text} is not a size like 512, 4k or 1m"))?;
    number.checked_mul(unit).ok_or_else(|| format!("{text} is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!((bytes("512"), bytes("4k"), bytes("1M")), (Ok(512), Ok(4096), Ok(1 << 20)));
        for wrong in ["", "k", "4g", "-1", "9999999k"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}

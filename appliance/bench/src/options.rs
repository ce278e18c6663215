//! Options of a load.

use crate::error::BenchError;
use clap::{Args, ValueEnum};
use serde::{Serialize, Serializer};
use std::path::PathBuf;

/// Kind and order of the requests.
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

/// Check of data.
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
    /// The disk: the socket of a vhost-user-blk server, or of a vhost-user-scsi server where --target is given, or the
    /// directory of an NVMe controller (vfio-user, with its socket `cntrl`). Several disks of one kind are loaded at once
    #[arg(required = true, value_name = "DISK")]
    #[serde(serialize_with = "paths")]
    pub disks: Vec<PathBuf>,
    /// Kind and order of the requests
    #[arg(long, value_enum, default_value = "randread")]
    pub rw: Direction,
    /// Bytes of a request: 512, 4k, 1m
    #[arg(long, default_value = "4k", value_parser = bytes)]
    pub bs: u32,
    /// Requests in flight on each queue
    #[arg(long, default_value_t = 32)]
    pub iodepth: u16,
    /// Queues of each disk; one thread drives them all
    #[arg(long, default_value_t = 1)]
    pub queues: u16,
    /// Seconds to run
    #[arg(long, default_value_t = 5.0)]
    pub runtime: f64,
    /// Requests a second, over all disks; as many as possible unless given. A request's latency then
    /// counts from when it was due, also while the server kept it waiting
    #[arg(long)]
    pub rate: Option<u64>,
    /// Check the data: what was written is read back at the end; a run that only reads expects what
    /// earlier runs with the same --bs have written
    #[arg(long, value_enum)]
    pub verify: Option<Verify>,
    /// Connect again when the server has gone, for up to 20 s, and go on where it was: the server tracks
    /// what is in flight
    #[arg(long)]
    pub reconnect: bool,
    /// The CPU to run on; the last one the process may use unless given
    #[arg(long)]
    pub cpu: Option<u16>,
    /// Seed of the choice of blocks
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The namespace of an NVMe controller; its first one unless given
    #[arg(long)]
    pub nsid: Option<u32>,
    /// The target of a vhost-user-scsi server: its number, 0 to 255
    #[arg(long)]
    pub target: Option<u8>,
    /// The LUN of that target; 0 unless given
    #[arg(long)]
    pub lun: Option<u16>,
    /// Do not negotiate EVENT_IDX, which Linux's driver uses wherever it is offered
    #[arg(long)]
    pub no_event_idx: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Protocol of the disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    VhostUserBlk,
    VhostUserScsi,
    Nvme,
}

/// The largest queue that NVMe controllers take, less the entry that stays free.
const NVME_DEPTH_MAX: u16 = 4095;
/// The largest LUN of a target. Virtio 1.3, clause 5.6.6.1.
const LUN_MAX: u16 = 16383;
/// The largest ring that every server takes.
const RING_MAX: u32 = 1024;
/// The most memory for rings and data.
const MEMORY_MAX: u64 = 4 << 30;
/// Room for the alignment of one ring's areas, and of a slot's data.
const SPARE: u64 = 64 << 10;
const SLOT_SPARE: u64 = 4096;
/// The most bytes for header and answer of a slot.
const SLOT_BYTES_MAX: u32 = 192;

impl Options {
    /// Size of each ring: three descriptors for a request, a power of two.
    pub(crate) fn ring_size(&self) -> u32 {
        (u32::from(self.iodepth) * 3).next_power_of_two()
    }

    /// Protocol of the disks.
    ///
    /// # Errors
    /// They are of both.
    pub(crate) fn protocol(&self) -> Result<Protocol, BenchError> {
        let mut nvme = self.disks.iter().map(|path| path.is_dir());
        match (nvme.clone().all(|is_nvme| is_nvme), nvme.any(|is_nvme| is_nvme)) {
            (true, _) => Ok(Protocol::Nvme),
            (false, false) if self.target.is_some() => Ok(Protocol::VhostUserScsi),
            (false, false) => Ok(Protocol::VhostUserBlk),
            (false, true) => Err(BenchError::Options(
                "some disks are directories (NVMe) and some are sockets (vhost-user): name disks of one kind"
                    .into(),
            )),
        }
    }

    /// Number of slots of all queues.
    pub(crate) fn slots(&self) -> u64 {
        self.disks.len() as u64 * u64::from(self.queues) * u64::from(self.iodepth)
    }

    /// Refuses options that the protocol does not have.
    fn check_protocol(&self, protocol: Protocol) -> Result<(), BenchError> {
        let foreign = match protocol {
            Protocol::Nvme if self.reconnect => "--reconnect is for vhost-user disks",
            Protocol::Nvme if self.no_event_idx => "--no-event-idx is for vhost-user disks",
            Protocol::Nvme if self.target.is_some() => "--target is for vhost-user-scsi",
            Protocol::VhostUserBlk | Protocol::VhostUserScsi if self.nsid.is_some() => {
                "--nsid is for NVMe controllers"
            }
            Protocol::VhostUserBlk | Protocol::Nvme if self.lun.is_some() => {
                return Err(BenchError::Options(
                    "--lun is for vhost-user-scsi: name its --target, too".into(),
                ));
            }
            _ => return Ok(()),
        };
        Err(BenchError::Options(format!("{foreign}: leave it out")))
    }

    /// The most requests in flight on a queue.
    fn depth_max(protocol: Protocol) -> u16 {
        match protocol {
            Protocol::VhostUserBlk | Protocol::VhostUserScsi => {
                u16::try_from(RING_MAX / 3).unwrap_or(u16::MAX)
            }
            Protocol::Nvme => NVME_DEPTH_MAX,
        }
    }

    /// Memory for all rings and their data, with so many bytes for header and answer of a slot.
    pub(crate) fn memory_bytes(&self, slot_bytes: u32) -> u64 {
        let ring = u64::from(self.ring_size()) * 32 + SPARE;
        let data = u64::from(self.iodepth) * (u64::from(self.bs) + SLOT_SPARE + u64::from(slot_bytes));
        u64::from(self.queues) * (ring + data)
    }

    /// Memory of all disks.
    fn memory_of_all(&self) -> u64 {
        self.memory_bytes(SLOT_BYTES_MAX).saturating_mul(self.disks.len() as u64)
    }

    /// Checks the options; returns the protocol.
    pub(crate) fn check(&self) -> Result<Protocol, BenchError> {
        let protocol = self.protocol()?;
        self.check_protocol(protocol)?;
        let wrong = |what: String| Err(BenchError::Options(what));
        if self.bs == 0 || !self.bs.is_multiple_of(512) {
            return wrong(format!("--bs {} is not a multiple of 512, of 512 at least", self.bs));
        }
        let depth_max = Self::depth_max(protocol);
        if !(1..=depth_max).contains(&self.iodepth) {
            return wrong(format!("--iodepth {} is not from 1 to {depth_max}", self.iodepth));
        }
        if self.queues == 0 || self.queues > 256 {
            return wrong(format!("--queues {} is not from 1 to 256", self.queues));
        }
        if self.memory_of_all() > MEMORY_MAX {
            let (mib, most) = (self.memory_of_all() >> 20, MEMORY_MAX >> 20);
            return wrong(format!(
                "--bs times --iodepth times --queues times disks is {mib} MiB, more than {most}: make one of them \
                 smaller"
            ));
        }
        if !(0.001..=86400.0).contains(&self.runtime) {
            return wrong(format!("--runtime {} is not from 0.001 to 86400 seconds", self.runtime));
        }
        if self.lun.is_some_and(|lun| lun > LUN_MAX) {
            return wrong(format!("--lun {} is not from 0 to {LUN_MAX}", self.lun.unwrap_or(0)));
        }
        if self.rate == Some(0) {
            return wrong("--rate 0 would never send a request: leave it out for as many as possible".into());
        }
        Ok(protocol)
    }
}

/// Paths as text: JSON knows no other.
fn paths<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
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
pub(crate) mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    /// Options of a command line after the socket.
    pub(crate) fn options(line: &str) -> Options {
        let words = ["bench", "socket"].into_iter().chain(line.split_whitespace());
        Line::parse_from(words).options
    }

    #[test]
    fn options_that_contradict_each_other_or_the_machine_are_refused_in_a_sentence() {
        for (line, sentence) in [
            ("--bs 0", "--bs 0 is not a multiple of 512, of 512 at least"),
            ("--bs 1000", "--bs 1000 is not"),
            ("--iodepth 0", "--iodepth 0 is not from 1 to 341"),
            ("--iodepth 342", "--iodepth 342 is not from 1 to 341"),
            ("--queues 0", "--queues 0 is not from 1 to 256"),
            ("--queues 257", "--queues 257 is not from 1 to 256"),
            ("--runtime 0", "--runtime 0 is not from 0.001 to 86400 seconds"),
            ("--runtime nan", "--runtime NaN is not from"),
            ("--runtime 1e9", "--runtime 1000000000 is not from"),
            ("--rate 0", "--rate 0 would never"),
            ("--nsid 1", "--nsid is for NVMe controllers: leave it out"),
            ("--lun 1", "--lun is for vhost-user-scsi: name its --target, too"),
            ("--target 1 --nsid 1", "--nsid is for NVMe controllers: leave it out"),
            ("--target 1 --lun 16384", "--lun 16384 is not from 0 to 16383"),
            ("--bs 1024m --iodepth 128", "is 131072 MiB, more than 4096"),
        ] {
            let error = options(line).check().unwrap_err().to_string();
            assert!(error.contains(sentence), "{line}: {error}");
        }
        assert!(options("--bs 1m --iodepth 341 --queues 8").check().is_ok());
    }

    #[test]
    fn a_directory_is_an_nvme_controller_and_disks_are_of_one_kind() {
        let nvme = |line: &str| Options { disks: vec!["/tmp".into(), "/".into()], ..options(line) };
        assert_eq!(nvme("--iodepth 4095").check().unwrap(), Protocol::Nvme);
        for (line, sentence) in [
            ("--iodepth 4096", "--iodepth 4096 is not from 1 to 4095"),
            ("--reconnect", "--reconnect is for vhost-user disks: leave it out"),
            ("--no-event-idx", "--no-event-idx is for vhost-user disks"),
            ("--target 0", "--target is for vhost-user-scsi: leave it out"),
        ] {
            let error = nvme(line).check().unwrap_err().to_string();
            assert!(error.contains(sentence), "{line}: {error}");
        }
        let both = Options { disks: vec!["/tmp".into(), "/tmp/socket-of-none".into()], ..options("") };
        assert!(both.check().unwrap_err().to_string().contains("name disks of one kind"));
    }

    #[test]
    fn a_path_that_is_no_text_is_still_shown_in_json() {
        use std::os::unix::ffi::OsStringExt;
        let disks = vec![std::ffi::OsString::from_vec(b"/tmp/\xff".to_vec()).into()];
        let json = serde_json::to_value(Options { disks, ..options("") }).unwrap();
        assert_eq!(json["disks"][0], "/tmp/\u{fffd}");
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, number) in [("512", 512), ("4k", 4096), ("1M", 1 << 20)] {
            assert_eq!(bytes(text), Ok(number));
        }
        for wrong in ["", "k", "4g", "-1", "9999999k"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}

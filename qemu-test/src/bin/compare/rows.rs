//! Loads of a comparison, each a row of the table.

use std::fmt;

/// Device behind the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// No storage: requests end at once.
    Null,
    /// Memory of the server; for the peer, which has no such device, a file in memory.
    Memory,
    /// A file of the host.
    File,
}

impl Device {
    pub(crate) const ALL: [Self; 3] = [Self::Null, Self::Memory, Self::File];

    /// Name in the table and of the disk.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Memory => "memory",
            Self::File => "file",
        }
    }
}

/// Direction of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Reads,
    Writes,
    Mixed,
}

impl Direction {
    const ALL: [Self; 3] = [Self::Reads, Self::Writes, Self::Mixed];

    /// Name in the load generator's options.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reads => "randread",
            Self::Writes => "randwrite",
            Self::Mixed => "randrw",
        }
    }
}

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) device: Device,
    pub(crate) direction: Direction,
    /// Size of a request in bytes.
    pub(crate) bytes: u32,
    pub(crate) queues: u16,
    /// Requests in flight on each queue.
    pub(crate) depth: u16,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, direction) = (self.device.name(), self.direction.name());
        write!(f, "{device} {direction} {} B, {} x {}", self.bytes, self.queues, self.depth)
    }
}

/// Extent of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// One row of each kind.
    Quick,
    /// Rows that differ in their results.
    Default,
    /// All combinations.
    All,
}

impl Selection {
    pub(crate) fn rows(self) -> Vec<Row> {
        match self {
            Self::Quick => rows(QUICK),
            Self::Default => rows(DEFAULT),
            Self::All => product(),
        }
    }
}

/// Rows of one device, direction, size in bytes and number of queues, with several depths.
type Kind = (Device, Direction, u32, u16, &'static [u16]);

/// Requests in flight on one queue.
const DEPTHS: &[u16] = &[1, 16, 128];
/// Requests in flight on each of four queues, in sum like those on one queue where that is possible.
/// (The peer fails on files with four times 128.)
const DEPTHS_OF_FOUR: &[u16] = &[1, 4, 32];

const QUICK: &[Kind] = &[
    (Device::Null, Direction::Reads, 512, 1, &[128]),
    (Device::Null, Direction::Mixed, 4096, 4, &[32]),
    (Device::Memory, Direction::Reads, 512, 1, &[128]),
    (Device::Memory, Direction::Writes, 4096, 1, &[16]),
    (Device::File, Direction::Reads, 4096, 1, &[16]),
];

const DEFAULT: &[Kind] = &[
    (Device::Null, Direction::Reads, 512, 1, DEPTHS),
    (Device::Null, Direction::Writes, 512, 1, &[128]),
    (Device::Null, Direction::Mixed, 512, 1, &[128]),
    (Device::Null, Direction::Reads, 4096, 1, &[128]),
    (Device::Null, Direction::Reads, 512, 4, &[32]),
    (Device::Memory, Direction::Reads, 512, 1, DEPTHS),
    (Device::Memory, Direction::Writes, 512, 1, &[128]),
    (Device::Memory, Direction::Mixed, 512, 1, &[128]),
    (Device::Memory, Direction::Reads, 4096, 1, DEPTHS),
    (Device::Memory, Direction::Writes, 4096, 1, &[128]),
    (Device::Memory, Direction::Reads, 512, 4, &[32]),
    (Device::File, Direction::Reads, 512, 1, &[128]),
    (Device::File, Direction::Reads, 4096, 1, DEPTHS),
    (Device::File, Direction::Writes, 4096, 1, &[128]),
    (Device::File, Direction::Mixed, 4096, 1, &[128]),
    (Device::File, Direction::Reads, 4096, 4, &[32]),
];

fn rows(kinds: &[Kind]) -> Vec<Row> {
    let of_kind = |&(device, direction, bytes, queues, depths): &Kind| {
        depths.iter().map(move |&depth| Row { device, direction, bytes, queues, depth })
    };
    kinds.iter().flat_map(of_kind).collect()
}

fn product() -> Vec<Row> {
    let mut kinds: Vec<Kind> = Vec::new();
    for device in Device::ALL {
        for direction in Direction::ALL {
            for bytes in [512, 4096] {
                kinds.push((device, direction, bytes, 1, DEPTHS));
                kinds.push((device, direction, bytes, 4, DEPTHS_OF_FOUR));
            }
        }
    }
    rows(&kinds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_selection_has_a_row_twice_and_each_has_every_device() {
        for selection in [Selection::Quick, Selection::Default, Selection::All] {
            let rows = selection.rows();
            for (at, row) in rows.iter().enumerate() {
                assert!(!rows[..at].contains(row), "{selection:?}: {row}");
            }
            assert!(Device::ALL.iter().all(|&device| rows.iter().any(|row| row.device == device)));
        }
    }

    #[test]
    fn all_rows_are_every_combination() {
        assert_eq!(Selection::All.rows().len(), 3 * 3 * 2 * 2 * 3);
        assert_eq!(Selection::All.rows()[0].to_string(), "null randread 512 B, 1 x 1");
    }
}

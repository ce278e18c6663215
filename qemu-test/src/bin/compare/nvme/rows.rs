//! Loads of NVMe controllers, each a row of the table.

use crate::rows::{Device, Direction, Row};
use std::fmt;

/// A load on one or several controllers of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NvmeRow {
    /// Cores of the server.
    pub(crate) cores: usize,
    pub(crate) controllers: u16,
    /// Load on each controller.
    pub(crate) load: Row,
}

impl fmt::Display for NvmeRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.controllers {
            1 => self.load.fmt(f)?,
            many => write!(f, "{many} controllers, {}", self.load)?,
        }
        if self.cores > 1 { write!(f, ", {} cores", self.cores) } else { Ok(()) }
    }
}

/// The most controllers of a row.
pub(crate) const CONTROLLERS_MAX: u16 = 24;

/// Loads of one device, direction, size and number of controllers and queues, with several depths.
struct Kind {
    cores: usize,
    controllers: u16,
    device: Device,
    direction: Direction,
    bytes: u32,
    queues: u16,
    depths: &'static [u16],
}

const fn kind(device: Device, direction: Direction, bytes: u32, depths: &'static [u16]) -> Kind {
    Kind { cores: 1, controllers: 1, device, direction, bytes, queues: 1, depths }
}

const QUICK: &[Kind] = &[
    kind(Device::Null, Direction::Reads, 512, &[128]),
    Kind { controllers: 2, ..kind(Device::Memory, Direction::Mixed, 4096, &[16]) },
    Kind { cores: 2, queues: 2, ..kind(Device::Null, Direction::Reads, 512, &[16]) },
];

const ALL: &[Kind] = &[
    kind(Device::Null, Direction::Reads, 512, &[1, 16, 128]),
    kind(Device::Null, Direction::Writes, 512, &[128]),
    kind(Device::Null, Direction::Mixed, 512, &[128]),
    kind(Device::Null, Direction::Reads, 4096, &[128]),
    kind(Device::Null, Direction::Reads, 8192, &[128]),
    kind(Device::Null, Direction::Reads, 65536, &[32]),
    Kind { queues: 4, ..kind(Device::Null, Direction::Reads, 512, &[32]) },
    Kind { controllers: CONTROLLERS_MAX, ..kind(Device::Null, Direction::Reads, 512, &[16]) },
    kind(Device::Memory, Direction::Reads, 512, &[1, 16, 128]),
    kind(Device::Memory, Direction::Writes, 512, &[128]),
    kind(Device::Memory, Direction::Reads, 4096, &[1, 16, 128]),
    Kind { controllers: CONTROLLERS_MAX, ..kind(Device::Memory, Direction::Reads, 512, &[16]) },
    Kind { cores: 2, queues: 2, ..kind(Device::Null, Direction::Reads, 512, &[1, 64]) },
];

/// Rows of a run: a few, or all.
pub(crate) fn rows(extent: Extent) -> Vec<NvmeRow> {
    let kinds = match extent {
        Extent::Quick => QUICK,
        Extent::All => ALL,
    };
    let of_kind = |kind: &'static Kind| {
        kind.depths.iter().map(move |&depth| NvmeRow {
            cores: kind.cores,
            controllers: kind.controllers,
            load: Row {
                device: kind.device,
                direction: kind.direction,
                bytes: kind.bytes,
                queues: kind.queues,
                depth,
            },
        })
    };
    kinds.iter().flat_map(of_kind).collect()
}

/// Extent of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Quick,
    All,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_there_twice_and_none_has_more_controllers_than_the_server() {
        for extent in [Extent::Quick, Extent::All] {
            let rows = rows(extent);
            for (at, row) in rows.iter().enumerate() {
                assert!(!rows[..at].contains(row), "{row}");
                assert!((1..=CONTROLLERS_MAX).contains(&row.controllers), "{row}");
            }
        }
    }

    #[test]
    fn a_row_says_how_many_controllers_it_has() {
        assert_eq!(rows(Extent::All)[0].to_string(), "null randread 512 B, 1 x 1");
        assert_eq!(rows(Extent::Quick)[1].to_string(), "2 controllers, memory randrw 4096 B, 1 x 16");
        assert_eq!(rows(Extent::Quick)[2].to_string(), "null randread 512 B, 2 x 16, 2 cores");
    }
}

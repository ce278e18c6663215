//! The SCSI target: a command of a nexus in; a request of a volume, or a status with sense data, out.
//!
//! Path: guest ring -> session -> **decode** -> volume -> channel -> NVMe queue pair -> SSD.
//!
//! - [`decode()`] makes a [`Command`] of the bytes of a CDB, on a core; [`transfer`] does it for nearly all reads and
//!   writes.
//! - [`UnitView`]: what a core knows of a logical unit.
//! - [`Ending`]: a status with sense data. [`BlockCommand::ended`] makes one of the status of a volume.
//!
//! - [`LogicalUnit`] is the device server of a volume, on a thread of its front end: [`Nexus::serve`] answers all
//!   commands that are no block I/O, and says which others a core may serve. [`Gate`] is what cores see of it.
//! - [`PortGroups`] and [`Initiator`]: the paths to units, and the state of each path.
//!
//! Invariants
//! - Nothing is allocated, locked or waited for by what cores call: decoding, and the endings of requests.
//! - A command never becomes a request for other blocks than its CDB says, nor a success without the work.
//!
//! Not here: transports, rings and cores (`vhost`).

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects))]

mod attention;
mod bytes;
mod capacity;
mod catalog;
mod cdb;
mod command;
mod decode;
mod gate;
mod inquiry;
mod log;
mod mode;
mod ports;
mod report;
mod reservation;
mod sense;
mod serve;
mod status;
mod unit;
mod view;

pub use capacity::{CapacityBytes, get_lba_status, read_capacity_10, read_capacity_16};
pub use catalog::{CATALOG, Entry as CatalogEntry, find as find_command};
pub use command::{BlockCommand, Command, UnmapCommand};
pub use decode::{Transfer, UNMAP_LIST_BYTES_MAX, UnmapRanges, decode, transfer};
pub use gate::Gate;
pub use ports::{
    GroupError, Initiator, InitiatorConfig, Port, PortGroup, PortGroups, TRANSITION_SECONDS_MAX,
    UnitListener, UnitReset,
};
pub use sense::{FieldPointer, SENSE_BYTES_MAX, Sense, SenseBytes, SenseFormat};
pub use serve::{AbsentLun, Answer, Incoming, Reply, absent};
pub use status::Ending;
pub use unit::{LogicalUnit, Nexus, PRODUCT_BYTES, SERIAL_BYTES_MAX, UnitConfig, UnitError};
pub use view::UnitView;

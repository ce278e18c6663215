//! The block contract: a queue pair, written in Rust.
//!
//! Path: guest ring -> session -> volume -> **channel** -> NVMe queue pair -> SSD.
//!
//! A [`Device`] belongs to the control plane. A [`Channel`] is its data plane on one core:
//! tagged [`Request`]s in, tagged [`Completion`]s out, in any order. No callbacks, futures
//! or reference counts.
//!
//! Invariants
//! - Nothing in a channel blocks, allocates or reads a clock, and no lock is waited for.
//! - Every request that `submit` took is completed exactly once, whatever happens to the device.
//! - A request's memory is not touched after its completion has been handed out.
//!
//! Devices: [`NullDevice`] (no memory at all), [`MemoryDevice`] (a RAM disk), [`FileDevice`] (a
//! file or block device of the host, by io_uring); the NVMe namespace is in `nvme`. The feature
//! `doubles` adds test doubles and the model that every device is checked against.
//!
//! Not here: volumes and the graph of channels (`volume`), who polls (`core`).

mod channel;
mod check;
#[cfg(feature = "doubles")]
pub mod doubles;
mod file;
mod geometry;
mod immediate;
mod io_errors;
mod lba;
mod memory;
mod null;
mod operation;
mod request;
mod resize;
mod shape;
mod status;
mod tag;
mod transfer;

pub use channel::{
    BLOCK_BUFFER_BYTES, Channel, Completions, CoreId, Device, OpenError, Refusal, STEP_MEMORY_BYTES,
    SharedHardware,
};
pub use file::{Access, Caching, FileDevice, FileError};
pub use geometry::{CopyLimits, Geometry, OperationLimits};
pub use io_errors::{FailedRequest, IoError, IoErrors};
pub use lba::{Blocks, Lba};
pub use memory::MemoryDevice;
pub use null::NullDevice;
pub use operation::{Durability, Operation, Stepped, WriteSame};
pub use request::{BlockRange, CopyRange, Request};
pub use resize::{ChannelSize, ResizeError};
pub use shape::{Shape, ShapeError};
pub use status::Status;
pub use tag::{Completion, Kind, SizeClass, Tag};
pub use transfer::{CheckedTransfer, TransferExtent};

//! The vfio-user protocol, version 0.0 and 0.1 (QEMU, `docs/interop/vfio-user.rst`): messages on a unix socket by
//! which a client uses a PCI function that another process emulates.
//!
//! ```text
//! message    header of 16 bytes, then the payload of its command; file descriptors as ancillary data
//! ```
//!
//! A reply has the identifier and the command of the message that it answers. One with an error has no payload. All
//! numbers are in the byte order of the host.

mod device;
mod dma;
mod header;
mod interrupt;
mod region;
mod version;

pub use device::{DeviceFlags, DeviceInfo};
pub use dma::{DmaAccess, DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags};
pub use header::{Command, Header, MessageFlags};
pub use interrupt::{InterruptFlags, InterruptIndex, InterruptInfo, SetInterrupts, SetInterruptsFlags};
pub use region::{
    CapabilityHeader, IoFdsInfo, RegionAccess, RegionFlags, RegionIndex, RegionInfo, SPARSE_MMAP,
    SPARSE_MMAP_VERSION, SparseArea, SparseMmap, WRITES_MAX, WriteMulti, WriteOne,
};
pub use version::{Capabilities, Version, VersionData};

//! SSDs by VFIO: taken from the kernel's driver, isolated by an IOMMU, reached from user space.
//!
//! Path: guest ring -> session -> volume -> channel -> NVMe queue pair -> **SSD**;
//! the data path only touches what this crate has set up: doorbells, and the IOMMU's mappings.
//!
//! - [`PciAddress`], [`SysfsRoot`]: SSDs of the host, and their drivers.
//! - [`bind`], [`Binding`]: gives an SSD to vfio-pci, and back.
//! - [`Vfio`]: opens SSDs as [`luge_memory::PciFunction`]s, all of them in one IOMMU domain
//!   that holds exactly what the [`luge_memory::DmaSpace`] holds.
//!
//! Invariants
//! - No SSD that the host uses is taken.
//! - No function reaches memory but what is in the `DmaSpace`; there is no mode without IOMMU.
//!
//! Not here: NVMe (`nvme`), the memory itself (`memory`).

mod address;
mod binding;
mod claims;
mod device;
mod domain;
mod error;
mod function;
mod in_use;
mod ioctl;
mod iommu_group;
mod openers;
mod reply;
#[cfg(test)]
mod rig;
mod sysfs;
mod vfio;

pub use address::{PciAddress, PciAddressError};
pub use binding::{Binding, bind};
pub use domain::Backend;
pub use error::{BindError, VfioError};
pub use sysfs::SysfsRoot;
pub use vfio::Vfio;

//! SSDs by VFIO: unbound from the kernel's driver, isolated by an IOMMU, accessed from user space.
//!
//! Path: guest ring -> session -> volume -> channel -> NVMe queue pair -> **SSD**. The data path uses
//! the doorbells and the IOMMU mappings that this crate has set up.
//!
//! - [`PciAddress`], [`SysfsRoot`]: the SSDs of the host and their drivers.
//! - [`bind`], [`Binding`], [`give_back`]: binds an SSD to vfio-pci, and back to its driver. [`Usage`]: who has it.
//! - [`Vfio`]: opens SSDs as [`luge_memory::PciFunction`]s, all in one IOMMU domain with the mappings of
//!   the [`luge_memory::DmaSpace`].
//! - [`VfioUser`]: attaches functions that other processes emulate, without an IOMMU.
//!
//! Invariants
//! - An SSD that the host uses is refused.
//! - An SSD reaches the memory in the `DmaSpace` and no other; there is no mode without IOMMU.
//!
//! Not here: NVMe (`nvme`), the memory itself (`memory`).

mod address;
mod binding;
mod claims;
mod config;
#[cfg(test)]
mod device_file;
mod domain;
mod error;
mod function;
mod in_use;
mod ioctl;
mod iommu_group;
mod membership;
mod openers;
mod reply;
#[cfg(any(test, feature = "rig"))]
pub mod rig;
mod sysfs;
mod usage;
mod vfio;
mod vfio_user;

pub use address::{PciAddress, PciAddressError};
pub use binding::{Binding, bind, check_bind, give_back};
pub use domain::Backend;
pub use error::{BindError, VfioError};
pub use sysfs::SysfsRoot;
pub use usage::Usage;
pub use vfio::Vfio;
pub use vfio_user::{ServerSocket, VfioUser, VfioUserError};

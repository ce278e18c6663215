//! The contract of an IOMMU domain, for each way to one.

use crate::{PciAddress, SysfsRoot, VfioError};
use luge_memory::Iommu;
use std::fs::File;

/// An IOMMU domain that functions join.
pub trait Domain: Iommu {
    /// Makes a function, which is bound to vfio-pci, a member. Takes microseconds.
    fn join(&self, root: &SysfsRoot, address: PciAddress) -> Result<Box<dyn Member>, VfioError>;
}

/// A function's membership in a domain. Drop it after the function's file was closed.
pub trait Member: Send + Sync {
    /// Opens the function. The kernel resets it meanwhile, which takes 0.1 to 0.2 s. While the file is
    /// open, the function reaches the memory of the domain and no other.
    fn open(&self) -> Result<File, VfioError>;
}

//! Contract of a domain and its members, and the errors that both implementations share.

use crate::{PciAddress, SysfsRoot, VfioError};
use luge_memory::{Iommu, Iova, Mapping};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;

/// IOMMU domain that functions can join.
pub trait Domain: Iommu {
    /// Joins a function that is bound to vfio-pci to the domain. Takes no time worth mentioning.
    fn join(&self, root: &SysfsRoot, address: PciAddress) -> Result<Box<dyn Membership>, VfioError>;
}

/// Membership of a function in a domain; dropped once the function's file is closed.
pub trait Membership: Send + Sync {
    /// Opens the function, which the kernel resets meanwhile: a tenth of a second or two.
    /// While the file is open, the function reaches what the domain holds, and nothing else.
    fn open(&self) -> Result<File, VfioError>;
}

/// Opens a file of VFIO.
pub(super) fn open_file(address: PciAddress, path: PathBuf) -> Result<File, VfioError> {
    OpenOptions::new().read(true).write(true).open(&path).map_err(|source| match source.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => VfioError::NoVfio(path),
        Some(libc::EBUSY) => VfioError::Busy { address, path },
        _ => VfioError::Open { path, source },
    })
}

/// Error of a step that puts a function into a domain.
pub(super) fn joining(address: PciAddress, what: &'static str, source: io::Error) -> VfioError {
    match source.raw_os_error() {
        Some(libc::EPERM) => VfioError::InterruptsNotRemapped(address),
        _ => VfioError::Kernel { address, what, source },
    }
}

/// Error of a mapping, with its place and what an operator can do.
pub(super) fn not_mapped(iova: Iova, memory: &Mapping, source: &io::Error) -> io::Error {
    let remedy = match source.raw_os_error() {
        Some(libc::ENOMEM | libc::EPERM) => "; run as root or raise the limit on locked memory (ulimit -l)",
        Some(libc::ENOSPC) => "; raise dma_entry_limit of the kernel module vfio_iommu_type1",
        _ => "",
    };
    let text = format!("the IOMMU does not take {} bytes at {iova}: {source}{remedy}", memory.len());
    io::Error::new(source.kind(), text)
}

/// Checks that all of a mapping was removed.
pub(super) fn all_unmapped(iova: Iova, len: u64, unmapped: u64) -> io::Result<()> {
    if unmapped == len {
        return Ok(());
    }
    Err(io::Error::other(format!("only {unmapped} of {len} bytes at {iova} left the IOMMU")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_stayed_mapped_is_an_error() {
        assert!(all_unmapped(Iova(0), 0x2000, 0x2000).is_ok());
        assert!(all_unmapped(Iova(0), 0x2000, 0x1000).is_err());
    }
}

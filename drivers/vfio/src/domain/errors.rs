//! Errors of the kernel, with their causes and remedies.

use crate::{PciAddress, VfioError};
use luge_memory::{Iova, Mapping};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;

/// Opens a file of VFIO.
pub fn open_file(address: PciAddress, path: PathBuf) -> Result<File, VfioError> {
    OpenOptions::new().read(true).write(true).open(&path).map_err(|source| match source.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => VfioError::NoVfio(path),
        Some(libc::EBUSY) => VfioError::Busy { address, path },
        _ => VfioError::Open { path, source },
    })
}

/// Error of a step that puts a function into a domain.
pub fn joining(address: PciAddress, what: &'static str, source: io::Error) -> VfioError {
    match source.raw_os_error() {
        Some(libc::EPERM) => VfioError::InterruptsNotRemapped(address),
        _ => VfioError::Kernel { address, what, source },
    }
}

/// Error of a mapping, with its address and the remedy.
pub fn not_mapped(iova: Iova, memory: &Mapping, source: &io::Error) -> io::Error {
    let remedy = match source.raw_os_error() {
        Some(libc::ENOMEM | libc::EPERM) => "; run as root or raise the limit on locked memory (ulimit -l)",
        Some(libc::ENOSPC) => "; raise dma_entry_limit of the kernel module vfio_iommu_type1",
        _ => "",
    };
    let text = format!("the IOMMU does not map {} bytes at {iova}: {source}{remedy}", memory.len());
    io::Error::new(source.kind(), text)
}

/// Fails unless a whole mapping was removed.
pub fn all_unmapped(iova: Iova, len: u64, unmapped: u64) -> io::Result<()> {
    if unmapped == len {
        return Ok(());
    }
    Err(io::Error::other(format!("the IOMMU unmapped only {unmapped} of {len} bytes at {iova}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_stays_mapped_is_an_error() {
        assert!(all_unmapped(Iova(0), 0x2000, 0x2000).is_ok());
        assert!(all_unmapped(Iova(0), 0x2000, 0x1000).is_err());
    }
}

//! Changes of a host.

use crate::HostError;
use crate::pages;
use crate::pool::Pool;
use luge_vfio::{BindError, PciAddress, SysfsRoot, Usage, bind, check_bind, give_back};
use std::fmt;

/// A change of a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Binds an SSD to vfio-pci, with the free SSDs of its IOMMU group.
    Bind(PciAddress),
    /// Gives an SSD that is bound to vfio-pci back to the kernel's driver.
    Release(PciAddress),
    /// Sets the number of hugepages of a pool.
    Pages {
        /// The pool.
        pool: Pool,
        /// Number of pages.
        count: u64,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(address) => write!(f, "bind {address} to vfio-pci"),
            Self::Release(address) => write!(f, "give {address} back to the kernel's driver"),
            Self::Pages { pool, count } => write!(f, "make {count} {pool}"),
        }
    }
}

impl Change {
    /// Checks whether [`Self::apply`] would refuse the change, as far as that is known before. Changes nothing.
    ///
    /// # Errors
    /// [`HostError`] of the refusal.
    pub(crate) fn check(&self, root: &SysfsRoot) -> Result<(), HostError> {
        match self {
            Self::Bind(address) => Ok(check_bind(root, *address)?),
            Self::Release(address) => check_release(root, *address),
            // The pool was found, and the kernel alone knows how many pages it can make.
            Self::Pages { .. } => Ok(()),
        }
    }

    /// Makes the change.
    ///
    /// # Errors
    /// [`HostError`]; the host is as before.
    pub(crate) fn apply(&self, root: &SysfsRoot) -> Result<(), HostError> {
        match self {
            Self::Bind(address) => {
                drop(bind(root, *address)?);
                Ok(())
            }
            Self::Release(address) => release(root, *address),
            Self::Pages { pool, count } => pages::resize(root, *pool, *count),
        }
    }
}

fn release(root: &SysfsRoot, address: PciAddress) -> Result<(), HostError> {
    check_release(root, address)?;
    Ok(give_back(root, address, Some("nvme"))?)
}

fn check_release(root: &SysfsRoot, address: PciAddress) -> Result<(), HostError> {
    match Usage::of(root, address) {
        Usage::Bound => Ok(()),
        Usage::Open(by) => Err(BindError::GroupInUse { address, by }.into()),
        Usage::Free | Usage::Host(_) | Usage::Driver(_) => {
            let driver = root.driver(address).unwrap_or_else(|| "no driver".to_owned());
            Err(HostError::NotBound { address, driver })
        }
    }
}

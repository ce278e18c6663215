//! Changes of a host.

use crate::HostError;
use crate::pages;
use crate::pool::Pool;
use luge_vfio::{PciAddress, SysfsRoot, Usage, bind, give_back};
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
    match Usage::of(root, address) {
        // One that is open is refused there.
        Usage::Bound | Usage::Open(_) => Ok(give_back(root, address, Some("nvme"))?),
        Usage::Free | Usage::Host(_) | Usage::Driver(_) => {
            let driver = root.driver(address).unwrap_or_else(|| "no driver".to_owned());
            Err(HostError::NotBound { address, driver })
        }
    }
}

//! Opens PCI functions by VFIO.
//!
//! Not here: binding a function to vfio-pci (`binding`), the IOMMU domain (`membership`, `domain`), the use
//! of the function (`function`).

use crate::function::VfioFunction;
use crate::membership::{CreateDomain, Members};
use crate::sysfs::VFIO_PCI;
use crate::{Backend, PciAddress, SysfsRoot, VfioError, domain};
use luge_memory::{DmaSpace, PciFunction};
use std::sync::Arc;

/// Opens functions that are bound to vfio-pci.
#[derive(Clone)]
pub struct Vfio {
    root: SysfsRoot,
    members: Arc<Members>,
}

impl Vfio {
    /// Opens functions that reach the memory of `space` and no other. No file is opened yet.
    #[must_use]
    pub fn new(root: SysfsRoot, backend: Backend, space: Arc<DmaSpace>) -> Self {
        let files = root.clone();
        Self::with_domains(root, space, Box::new(move |address| domain::create(&files, backend, address)))
    }

    fn with_domains(root: SysfsRoot, space: Arc<DmaSpace>, create: Box<CreateDomain>) -> Self {
        Self { members: Arc::new(Members::new(root.clone(), space, create)), root }
    }

    /// Opens a function that is bound to vfio-pci. It accesses memory only after its driver has called
    /// [`PciFunction::set_bus_master`].
    ///
    /// # Errors
    /// [`VfioError`]; no file is open then.
    pub fn open_function(&self, address: PciAddress) -> Result<Box<dyn PciFunction>, VfioError> {
        self.check_bound(address)?;
        let node = self.root.numa_node(address);
        Ok(Box::new(VfioFunction::open(self.members.open(address)?, address, node)?))
    }

    fn check_bound(&self, address: PciAddress) -> Result<(), VfioError> {
        let driver = self.root.driver(address);
        if driver.as_deref() == Some(VFIO_PCI) {
            return Ok(());
        }
        let driver = driver.map_or("no driver".to_owned(), |driver| format!("the driver {driver}"));
        Err(VfioError::NotBound { address, driver })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Domain, Member};
    use crate::rig::FakeHost;
    use luge_memory::{Iommu, Iova, IovaRange, Mapping};
    use std::fs::File;
    use std::io;
    use std::sync::{Mutex, Weak};

    /// A domain whose functions are `/dev/null`.
    struct NullDomain;

    impl Iommu for NullDomain {
        fn usable(&self) -> io::Result<Vec<IovaRange>> {
            Ok(vec![IovaRange { first: 0, last: u64::MAX }])
        }

        fn map(&self, _: Iova, _: &Mapping) -> io::Result<()> {
            Ok(())
        }

        fn unmap(&self, _: Iova, _: u64) -> io::Result<()> {
            Ok(())
        }
    }

    impl Domain for NullDomain {
        fn join(&self, _: &SysfsRoot, _: PciAddress) -> Result<Box<dyn Member>, VfioError> {
            Ok(Box::new(NullFunction))
        }
    }

    struct NullFunction;

    impl Member for NullFunction {
        fn open(&self) -> Result<File, VfioError> {
            Ok(File::open("/dev/null").unwrap())
        }
    }

    struct Rig {
        host: FakeHost,
        vfio: Vfio,
        /// The domain that was made last.
        domain: Arc<Mutex<Weak<NullDomain>>>,
    }

    impl Rig {
        fn new() -> Self {
            let (host, domain) = (FakeHost::new(), Arc::new(Mutex::new(Weak::new())));
            let made = domain.clone();
            let create = move |_| {
                let domain = Arc::new(NullDomain);
                *made.lock().unwrap() = Arc::downgrade(&domain);
                Ok(domain as Arc<dyn Domain>)
            };
            let vfio = Vfio::with_domains(host.root(), DmaSpace::new(), Box::new(create));
            Self { host, vfio, domain }
        }

        fn refusal(&self) -> String {
            self.vfio.open_function("0000:01:00.0".parse().unwrap()).err().unwrap().to_string()
        }
    }

    #[test]
    fn a_function_of_another_driver_is_refused() {
        let rig = Rig::new();
        assert!(rig.refusal().contains("bound to no driver"));
        rig.host.driver("nvme").function("0000:01:00.0").bound("0000:01:00.0", "nvme");
        assert!(rig.refusal().contains("bound to the driver nvme, not to vfio-pci"));
    }

    #[test]
    fn a_file_that_is_not_a_device_is_refused_and_its_domain_closed() {
        let rig = Rig::new();
        rig.host.driver("vfio-pci").function("0000:01:00.0").bound("0000:01:00.0", "vfio-pci");
        let error = rig.refusal();
        assert!(error.starts_with("0000:01:00.0: reading its flags failed"), "{error}");
        assert_eq!(rig.domain.lock().unwrap().strong_count(), 0);
    }
}

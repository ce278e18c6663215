//! Functions that are open in the process's one IOMMU domain.
//!
//! ```text
//!            (1) first function joins
//!   empty ------------------------------> live(domain, n functions) --+
//!     ^                                         |            ^        | (2) one more, one less
//!     +-----------------------------------------+            +--------+
//!            (3) last function leaves
//! ```
//!
//! 1. A domain is made, the function joins it, the [`DmaSpace`] maps its memory into it.
//! 2. A function joins the same domain, or leaves it.
//! 3. The domain is detached from the space, then closed.
//!
//! A function is opened once it has joined, and closed before it leaves. The kernel
//! resets it both times; many functions do that at once, since no lock is held meanwhile.
//!
//! Invariants
//! - Joining and leaving take turns, so a domain is never joined while it goes.
//! - No function is open while its domain is not attached, and none is open twice.
//!
//! Not here: binding a function to vfio-pci (`binding`), what is done with it (`function`).

use crate::domain::{Domain, Membership};
use crate::{PciAddress, SysfsRoot, VfioError};
use luge_memory::{DmaSpace, Iommu};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Opens functions in one domain, which lives as long as one of them is open. Clones share it.
#[derive(Clone)]
pub struct VfioDevices {
    shared: Arc<Shared>,
}

struct Shared {
    root: SysfsRoot,
    space: Arc<DmaSpace>,
    create: Box<CreateDomain>,
    live: Mutex<Option<Live>>,
}

/// Function that creates a domain which the function at an address can join.
pub type CreateDomain = dyn Fn(PciAddress) -> Result<Arc<dyn Domain>, VfioError> + Send + Sync;

/// Domain that has members.
struct Live {
    domain: Arc<dyn Domain>,
    functions: Vec<PciAddress>,
}

impl VfioDevices {
    /// Functions that reach the memory of `space`, and no other. Opens nothing yet.
    pub fn new(root: SysfsRoot, space: Arc<DmaSpace>, create: Box<CreateDomain>) -> Self {
        Self { shared: Arc::new(Shared { root, space, create, live: Mutex::default() }) }
    }

    /// Opens a function in the domain.
    ///
    /// # Errors
    /// [`VfioError`]; nothing is open then.
    pub fn open(&self, address: PciAddress) -> Result<VfioDevice, VfioError> {
        let (mut device, domain) = self.join(address)?;
        if let Some(member) = &device.member {
            device.file = Some(member.open()?);
        }
        self.shared.space.narrow(&*domain).map_err(|source| VfioError::Memory { address, source })?;
        Ok(device)
    }

    /// Transitions 1 and 2: joins a function to the domain.
    fn join(&self, address: PciAddress) -> Result<(VfioDevice, Arc<dyn Domain>), VfioError> {
        let shared = &self.shared;
        let mut guard = shared.live();
        let domain = match &*guard {
            Some(live) if live.functions.contains(&address) => return Err(VfioError::AlreadyOpen(address)),
            Some(live) => live.domain.clone(),
            None => (shared.create)(address)?,
        };
        let member = Some(domain.join(&shared.root, address)?);
        match &mut *guard {
            Some(live) => live.functions.push(address),
            None => {
                let memory = |source| VfioError::Memory { address, source };
                shared.space.attach(domain.clone()).map_err(memory)?;
                *guard = Some(Live { domain: domain.clone(), functions: vec![address] });
            }
        }
        Ok((VfioDevice { shared: shared.clone(), address, member, file: None }, domain))
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Open VFIO device of a function: its membership in the domain, and its file. Dropped after all else that
/// belongs to the function.
pub struct VfioDevice {
    shared: Arc<Shared>,
    address: PciAddress,
    member: Option<Box<dyn Membership>>,
    file: Option<File>,
}

impl VfioDevice {
    /// File of the device; `None` once it is closed.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Transitions 2 and 3: closes the file, and leaves the domain.
    pub fn close(&mut self) {
        if self.member.is_none() {
            return;
        }
        self.file = None;
        let mut guard = self.shared.live();
        let Some(live) = guard.as_mut() else { return };
        live.functions.retain(|&open| open != self.address);
        if live.functions.is_empty()
            && let Some(last) = guard.take()
        {
            let iommu: Arc<dyn Iommu> = last.domain;
            self.shared.space.detach(&iommu);
        }
        // Still under the lock: a container whose last group leaves forgets its mappings.
        self.member = None;
    }
}

impl Drop for VfioDevice {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::VfioFunction;
    use crate::rig::FakeHost;
    use luge_memory::{DmaMemory, Iova, IovaRange, Mapping, PageSize};
    use std::io;
    use std::sync::Weak;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// A domain that counts what is mapped, and takes every device.
    #[derive(Default)]
    struct Counter {
        mapped: AtomicUsize,
        narrow: AtomicBool,
    }

    impl Iommu for Counter {
        fn usable(&self) -> io::Result<Vec<IovaRange>> {
            let last = if self.narrow.load(Ordering::Relaxed) { 0xfff } else { u64::MAX };
            Ok(vec![IovaRange { first: 0, last }])
        }

        fn map(&self, _: Iova, _: &Mapping) -> io::Result<()> {
            self.mapped.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }

        fn unmap(&self, _: Iova, _: u64) -> io::Result<()> {
            self.mapped.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        }
    }

    impl Domain for Counter {
        fn join(&self, _: &SysfsRoot, address: PciAddress) -> Result<Box<dyn Membership>, VfioError> {
            Ok(Box::new(address))
        }
    }

    /// Device 1f does not open; the others do.
    impl Membership for PciAddress {
        fn open(&self) -> Result<File, VfioError> {
            if self.to_string().contains(":1f.") {
                return Err(VfioError::NoRegisters(*self));
            }
            Ok(File::open("/dev/null").unwrap())
        }
    }

    struct Rig {
        _host: FakeHost,
        space: Arc<DmaSpace>,
        devices: VfioDevices,
        made: Arc<Mutex<Vec<Weak<Counter>>>>,
    }

    fn rig() -> Rig {
        let (host, space) = (FakeHost::new(), DmaSpace::new());
        let made = Arc::new(Mutex::new(Vec::new()));
        let record = made.clone();
        let create = move |_| {
            let domain = Arc::new(Counter::default());
            record.lock().unwrap().push(Arc::downgrade(&domain));
            Ok(domain as Arc<dyn Domain>)
        };
        let devices = VfioDevices::new(host.root(), space.clone(), Box::new(create));
        Rig { _host: host, space, devices, made }
    }

    impl Rig {
        fn open(&self, address: &str) -> Result<VfioDevice, VfioError> {
            self.devices.open(address.parse().unwrap())
        }

        fn domain(&self, index: usize) -> Option<Arc<Counter>> {
            self.made.lock().unwrap()[index].upgrade()
        }

        fn memory(&self) -> DmaMemory {
            DmaMemory::allocate(&self.space, 4096, PageSize::Base, None).unwrap()
        }
    }

    #[test]
    fn the_first_function_brings_the_domain_and_the_last_takes_it_away() {
        let rig = rig();
        let _early = rig.memory();
        let (first, second) = (rig.open("01:00.0").unwrap(), rig.open("02:00.0").unwrap());
        let late = rig.memory();
        let mapped = || rig.domain(0).map(|domain| domain.mapped.load(Ordering::Relaxed));
        assert_eq!(mapped(), Some(2));
        assert_eq!(rig.made.lock().unwrap().len(), 1, "domains");
        drop(first);
        drop(late);
        assert_eq!(mapped(), Some(1));
        drop(second);
        assert_eq!(mapped(), None);
    }

    #[test]
    fn a_domain_that_all_functions_left_is_not_used_again() {
        let rig = rig();
        let _memory = rig.memory();
        drop(rig.open("01:00.0").unwrap());
        let _device = rig.open("01:00.0").unwrap();
        assert!(rig.domain(0).is_none());
        assert_eq!(rig.domain(1).unwrap().mapped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_function_that_cannot_reach_the_memory_in_use_is_refused() {
        let rig = rig();
        let _memory = rig.memory();
        let device = rig.open("01:00.0").unwrap();
        rig.domain(0).unwrap().narrow.store(true, Ordering::Relaxed);
        assert!(matches!(rig.open("02:00.0"), Err(VfioError::Memory { .. })));
        drop(device);
        assert!(rig.domain(0).is_none());
    }

    #[test]
    fn a_function_that_does_not_open_leaves_the_domain() {
        let rig = rig();
        let _memory = rig.memory();
        assert!(rig.open("00:1f.0").is_err());
        assert!(rig.domain(0).is_none());
        let _device = rig.open("01:00.0").unwrap();
        assert!(rig.open("00:1f.0").is_err() && rig.open("00:1f.0").is_err());
        assert_eq!(rig.domain(1).unwrap().mapped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_function_is_open_once() {
        let rig = rig();
        let device = rig.open("01:00.0").unwrap();
        assert!(matches!(rig.open("01:00.0"), Err(VfioError::AlreadyOpen(_))));
        drop(device);
        assert!(rig.open("01:00.0").is_ok());
    }

    #[test]
    fn a_function_that_was_closed_may_be_opened_again_and_is_closed_once() {
        let rig = rig();
        let mut first = rig.open("01:00.0").unwrap();
        first.close();
        assert!(first.file().is_none() && rig.domain(0).is_none());
        let second = rig.open("01:00.0").unwrap();
        first.close();
        drop(first);
        assert!(matches!(rig.open("01:00.0"), Err(VfioError::AlreadyOpen(_))));
        drop(second);
        assert!(rig.domain(1).is_none());
    }

    #[test]
    fn a_file_that_is_no_device_leaves_nothing_behind() {
        let rig = rig();
        let (device, address) = (rig.open("01:00.0").unwrap(), "01:00.0".parse().unwrap());
        let error = VfioFunction::open(device, address, None).err().unwrap().to_string();
        assert!(error.starts_with("0000:01:00.0: reading what it can do failed"), "{error}");
        assert!(rig.domain(0).is_none());
    }
}

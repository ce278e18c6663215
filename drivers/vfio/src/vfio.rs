//! The process's way to its SSDs: functions, all of them in one IOMMU domain.
//!
//! ```text
//!            (1) first function joins
//!   empty ------------------------------> live(domain, n functions) --+
//!     ^                                         |            ^        | (2) one more, one less
//!     +-----------------------------------------+            +--------+
//!            (3) last function leaves
//! ```
//!
//! 1. A domain is made, the function gets a place in it, the [`DmaSpace`] maps its memory into it.
//! 2. A function gets a place in the same domain, or gives it back.
//! 3. The domain is detached from the space, then closed.
//!
//! A function is opened once it has its place, and closed before it gives it back. The kernel
//! resets it both times; many functions do that at once, since no lock is held meanwhile.
//!
//! Invariants
//! - Joining and leaving take turns, so a domain is never joined while it goes.
//! - No function is open while its domain is not attached, and none is open twice.
//!
//! Not here: binding a function to vfio-pci (`binding`), what is done with it (`function`).

use crate::domain::{self, Domain, Place};
use crate::function::VfioFunction;
use crate::{Backend, PciAddress, SysfsRoot, VfioError};
use luge_memory::{DmaSpace, Iommu, PciFunction};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Opens functions that are bound to vfio-pci.
#[derive(Clone)]
pub struct Vfio {
    shared: Arc<Shared>,
}

struct Shared {
    root: SysfsRoot,
    space: Arc<DmaSpace>,
    create: Box<CreateDomain>,
    live: Mutex<Option<Live>>,
}

type CreateDomain = dyn Fn(PciAddress) -> Result<Arc<dyn Domain>, VfioError> + Send + Sync;

struct Live {
    domain: Arc<dyn Domain>,
    functions: Vec<PciAddress>,
}

impl Vfio {
    /// A way to SSDs that reach the memory of `space`, and no other. Nothing is opened yet.
    #[must_use]
    pub fn new(root: SysfsRoot, backend: Backend, space: Arc<DmaSpace>) -> Self {
        let place = root.clone();
        Self::with_domains(root, space, Box::new(move |address| domain::create(&place, backend, address)))
    }

    fn with_domains(root: SysfsRoot, space: Arc<DmaSpace>, create: Box<CreateDomain>) -> Self {
        Self { shared: Arc::new(Shared { root, space, create, live: Mutex::default() }) }
    }

    /// Opens a function that is bound to vfio-pci. It reaches memory once its driver calls
    /// [`PciFunction::set_bus_master`].
    ///
    /// # Errors
    /// [`VfioError`]; nothing is open then.
    pub fn open_function(&self, address: PciAddress) -> Result<Box<dyn PciFunction>, VfioError> {
        let root = &self.shared.root;
        self.check_bound(address)?;
        Ok(Box::new(VfioFunction::open(self.seat(address)?, address, root.numa_node(address))?))
    }

    fn check_bound(&self, address: PciAddress) -> Result<(), VfioError> {
        let driver = self.shared.root.driver(address);
        if driver.as_deref() == Some("vfio-pci") {
            return Ok(());
        }
        let driver = driver.map_or("no driver".to_owned(), |driver| format!("the driver {driver}"));
        Err(VfioError::NotBound { address, driver })
    }

    /// Opens a function into the domain.
    fn seat(&self, address: PciAddress) -> Result<Seat, VfioError> {
        let (mut seat, domain) = self.join(address)?;
        if let Some(place) = &seat.place {
            seat.file = Some(place.open()?);
        }
        self.shared.space.narrow(&*domain).map_err(|source| VfioError::Memory { address, source })?;
        Ok(seat)
    }

    /// (1) and (2).
    fn join(&self, address: PciAddress) -> Result<(Seat, Arc<dyn Domain>), VfioError> {
        let shared = &self.shared;
        let mut guard = shared.live();
        let domain = match &*guard {
            Some(live) if live.functions.contains(&address) => return Err(VfioError::AlreadyOpen(address)),
            Some(live) => live.domain.clone(),
            None => (shared.create)(address)?,
        };
        let place = Some(domain.join(&shared.root, address)?);
        match &mut *guard {
            Some(live) => live.functions.push(address),
            None => {
                let memory = |source| VfioError::Memory { address, source };
                shared.space.attach(domain.clone()).map_err(memory)?;
                *guard = Some(Live { domain: domain.clone(), functions: vec![address] });
            }
        }
        Ok((Seat { shared: shared.clone(), address, place, file: None }, domain))
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A function's place in the domain, and its file. The last to go of all that a function has.
pub struct Seat {
    shared: Arc<Shared>,
    address: PciAddress,
    place: Option<Box<dyn Place>>,
    file: Option<File>,
}

impl Seat {
    /// The function's file; none once it has left.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// (2) and (3): closes the function, and gives its place back.
    pub fn leave(&mut self) {
        if self.place.is_none() {
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
        self.place = None;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        fn join(&self, _: &SysfsRoot, address: PciAddress) -> Result<Box<dyn Place>, VfioError> {
            Ok(Box::new(address))
        }
    }

    /// Device 1f does not open; the others do.
    impl Place for PciAddress {
        fn open(&self) -> Result<File, VfioError> {
            if self.to_string().contains(":1f.") {
                return Err(VfioError::NoRegisters(*self));
            }
            Ok(File::open("/dev/null").unwrap())
        }
    }

    struct Rig {
        host: FakeHost,
        space: Arc<DmaSpace>,
        vfio: Vfio,
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
        let vfio = Vfio::with_domains(host.root(), space.clone(), Box::new(create));
        Rig { host, space, vfio, made }
    }

    impl Rig {
        fn seat(&self, address: &str) -> Result<Seat, VfioError> {
            self.vfio.seat(address.parse().unwrap())
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
        let (first, second) = (rig.seat("01:00.0").unwrap(), rig.seat("02:00.0").unwrap());
        let late = rig.memory();
        let mapped = || rig.domain(0).map(|domain| domain.mapped.load(Ordering::Relaxed));
        assert_eq!((mapped(), rig.made.lock().unwrap().len()), (Some(2), 1));
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
        drop(rig.seat("01:00.0").unwrap());
        let _seat = rig.seat("01:00.0").unwrap();
        assert!(rig.domain(0).is_none());
        assert_eq!(rig.domain(1).unwrap().mapped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_function_that_cannot_reach_the_memory_in_use_is_refused() {
        let rig = rig();
        let _memory = rig.memory();
        let seat = rig.seat("01:00.0").unwrap();
        rig.domain(0).unwrap().narrow.store(true, Ordering::Relaxed);
        assert!(matches!(rig.seat("02:00.0"), Err(VfioError::Memory { .. })));
        drop(seat);
        assert!(rig.domain(0).is_none());
    }

    #[test]
    fn a_function_that_does_not_open_gives_its_place_back() {
        let rig = rig();
        let _memory = rig.memory();
        assert!(rig.seat("00:1f.0").is_err());
        assert!(rig.domain(0).is_none());
        let _seat = rig.seat("01:00.0").unwrap();
        assert!(rig.seat("00:1f.0").is_err() && rig.seat("00:1f.0").is_err());
        assert_eq!(rig.domain(1).unwrap().mapped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_function_is_open_once() {
        let rig = rig();
        let seat = rig.seat("01:00.0").unwrap();
        assert!(matches!(rig.seat("01:00.0"), Err(VfioError::AlreadyOpen(_))));
        drop(seat);
        assert!(rig.seat("01:00.0").is_ok());
    }

    #[test]
    fn a_function_that_has_left_may_be_opened_again_and_leaves_once() {
        let rig = rig();
        let mut first = rig.seat("01:00.0").unwrap();
        first.leave();
        assert!(first.file().is_none() && rig.domain(0).is_none());
        let second = rig.seat("01:00.0").unwrap();
        first.leave();
        drop(first);
        assert!(matches!(rig.seat("01:00.0"), Err(VfioError::AlreadyOpen(_))));
        drop(second);
        assert!(rig.domain(1).is_none());
    }

    #[test]
    fn a_function_that_another_driver_has_is_refused() {
        let rig = rig();
        let open = || rig.vfio.open_function("0000:01:00.0".parse().unwrap()).err().unwrap().to_string();
        assert!(open().contains("bound to no driver"));
        rig.host.driver("nvme").function("0000:01:00.0").bound("0000:01:00.0", "nvme");
        assert!(open().contains("bound to the driver nvme, not to vfio-pci"));
    }

    #[test]
    fn a_file_that_is_no_device_leaves_nothing_behind() {
        let rig = rig();
        rig.host.driver("vfio-pci").function("0000:01:00.0").bound("0000:01:00.0", "vfio-pci");
        let error = rig.vfio.open_function("0000:01:00.0".parse().unwrap()).err().unwrap();
        assert!(error.to_string().starts_with("0000:01:00.0: reading what it can do failed"), "{error}");
        assert!(rig.domain(0).is_none());
    }
}

//! Membership of functions in the one IOMMU domain of the process.
//!
//! ```text
//!            (1) first function joins
//!   empty ------------------------------> live(domain, n functions) --+
//!     ^                                         |            ^        | (2) one more, one less
//!     +-----------------------------------------+            +--------+
//!            (3) last function leaves
//! ```
//!
//! 1. A domain is made, the function becomes a member, and the [`DmaSpace`] maps its memory into the
//!    domain.
//! 2. A function joins or leaves the same domain.
//! 3. The domain is detached from the space, then closed.
//!
//! A function is opened after it has joined, and closed before it leaves. The kernel resets it both
//! times; several functions can do that at once, because no lock is held meanwhile.
//!
//! Invariants
//! - Joining and leaving exclude each other, so that no function joins a domain that is being closed.
//! - A function is open only while its domain is attached, and only once.

use crate::domain::{Domain, Member};
use crate::{PciAddress, SysfsRoot, VfioError};
use luge_memory::{DmaSpace, Iommu};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Makes a domain that the function at the address can join.
pub type CreateDomain = dyn Fn(PciAddress) -> Result<Arc<dyn Domain>, VfioError> + Send + Sync;

/// The domain of the process and its members.
pub struct Members {
    root: SysfsRoot,
    space: Arc<DmaSpace>,
    create: Box<CreateDomain>,
    live: Mutex<Option<Live>>,
}

struct Live {
    domain: Arc<dyn Domain>,
    functions: Vec<PciAddress>,
}

impl Members {
    /// No members yet; `create` makes a domain for the first one.
    pub fn new(root: SysfsRoot, space: Arc<DmaSpace>, create: Box<CreateDomain>) -> Self {
        Self { root, space, create, live: Mutex::default() }
    }

    /// Makes a function a member of the domain and opens it.
    pub fn open(self: &Arc<Self>, address: PciAddress) -> Result<Membership, VfioError> {
        let (mut membership, domain) = self.join(address)?;
        if let Some(member) = &membership.member {
            membership.file = Some(member.open()?);
        }
        self.space.narrow(&*domain).map_err(|source| VfioError::Memory { address, source })?;
        Ok(membership)
    }

    /// (1) and (2).
    fn join(self: &Arc<Self>, address: PciAddress) -> Result<(Membership, Arc<dyn Domain>), VfioError> {
        let mut guard = self.live();
        let domain = match &*guard {
            Some(live) if live.functions.contains(&address) => return Err(VfioError::AlreadyOpen(address)),
            Some(live) => live.domain.clone(),
            None => (self.create)(address)?,
        };
        let member = Some(domain.join(&self.root, address)?);
        match &mut *guard {
            Some(live) => live.functions.push(address),
            None => {
                let memory = |source| VfioError::Memory { address, source };
                self.space.attach(domain.clone()).map_err(memory)?;
                *guard = Some(Live { domain: domain.clone(), functions: vec![address] });
            }
        }
        Ok((Membership { members: self.clone(), address, member, file: None }, domain))
    }

    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A function's membership in the domain, and its file. A function drops it after all else.
pub struct Membership {
    members: Arc<Members>,
    address: PciAddress,
    member: Option<Box<dyn Member>>,
    file: Option<File>,
}

impl Membership {
    /// File of the function; none after it has left.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// (2) and (3): closes the function, which then leaves the domain.
    pub fn leave(&mut self) {
        if self.member.is_none() {
            return;
        }
        self.file = None;
        let mut guard = self.members.live();
        let Some(live) = guard.as_mut() else { return };
        live.functions.retain(|&open| open != self.address);
        if live.functions.is_empty()
            && let Some(last) = guard.take()
        {
            let iommu: Arc<dyn Iommu> = last.domain;
            self.members.space.detach(&iommu);
        }
        // Still under the lock: a container whose last group leaves drops its mappings.
        self.member = None;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_memory::{DmaMemory, Iova, IovaRange, Mapping, PageSize};
    use std::io;
    use std::sync::Weak;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// A domain that counts mappings and accepts every device.
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
        fn join(&self, _: &SysfsRoot, address: PciAddress) -> Result<Box<dyn Member>, VfioError> {
            Ok(Box::new(address))
        }
    }

    /// Device 1f cannot be opened; others can.
    impl Member for PciAddress {
        fn open(&self) -> Result<File, VfioError> {
            if self.to_string().contains(":1f.") {
                return Err(VfioError::NoRegisters(*self));
            }
            Ok(File::open("/dev/null").unwrap())
        }
    }

    struct Rig {
        space: Arc<DmaSpace>,
        members: Arc<Members>,
        made: Arc<Mutex<Vec<Weak<Counter>>>>,
    }

    fn rig() -> Rig {
        let space = DmaSpace::new();
        let made = Arc::new(Mutex::new(Vec::new()));
        let record = made.clone();
        let create = move |_| {
            let domain = Arc::new(Counter::default());
            record.lock().unwrap().push(Arc::downgrade(&domain));
            Ok(domain as Arc<dyn Domain>)
        };
        let members = Arc::new(Members::new(SysfsRoot::default(), space.clone(), Box::new(create)));
        Rig { space, members, made }
    }

    impl Rig {
        fn open(&self, address: &str) -> Result<Membership, VfioError> {
            self.members.open(address.parse().unwrap())
        }

        fn domain(&self, index: usize) -> Option<Arc<Counter>> {
            self.made.lock().unwrap()[index].upgrade()
        }

        fn memory(&self) -> DmaMemory {
            DmaMemory::allocate(&self.space, 4096, PageSize::Base, None).unwrap()
        }
    }

    #[test]
    fn the_first_function_makes_the_domain_and_the_last_closes_it() {
        let rig = rig();
        let _early = rig.memory();
        let (first, second) = (rig.open("01:00.0").unwrap(), rig.open("02:00.0").unwrap());
        let late = rig.memory();
        let mapped = || rig.domain(0).map(|domain| domain.mapped.load(Ordering::Relaxed));
        assert_eq!(mapped(), Some(2));
        assert_eq!(rig.made.lock().unwrap().len(), 1);
        drop(first);
        drop(late);
        assert_eq!(mapped(), Some(1));
        drop(second);
        assert_eq!(mapped(), None);
    }

    #[test]
    fn a_domain_that_all_functions_have_left_is_not_used_again() {
        let rig = rig();
        let _memory = rig.memory();
        drop(rig.open("01:00.0").unwrap());
        let _open = rig.open("01:00.0").unwrap();
        assert!(rig.domain(0).is_none());
        assert_eq!(rig.domain(1).unwrap().mapped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_function_that_cannot_reach_the_memory_in_use_is_refused() {
        let rig = rig();
        let _memory = rig.memory();
        let open = rig.open("01:00.0").unwrap();
        rig.domain(0).unwrap().narrow.store(true, Ordering::Relaxed);
        assert!(matches!(rig.open("02:00.0"), Err(VfioError::Memory { .. })));
        drop(open);
        assert!(rig.domain(0).is_none());
    }

    #[test]
    fn a_function_that_cannot_be_opened_leaves_the_domain() {
        let rig = rig();
        let _memory = rig.memory();
        assert!(rig.open("00:1f.0").is_err());
        assert!(rig.domain(0).is_none());
        let _open = rig.open("01:00.0").unwrap();
        assert!(rig.open("00:1f.0").is_err() && rig.open("00:1f.0").is_err());
        assert_eq!(rig.domain(1).unwrap().mapped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_function_is_open_once() {
        let rig = rig();
        let open = rig.open("01:00.0").unwrap();
        assert!(matches!(rig.open("01:00.0"), Err(VfioError::AlreadyOpen(_))));
        drop(open);
        assert!(rig.open("01:00.0").is_ok());
    }

    #[test]
    fn a_function_that_has_left_may_be_opened_again_and_leaves_once() {
        let rig = rig();
        let mut first = rig.open("01:00.0").unwrap();
        first.leave();
        assert!(first.file().is_none() && rig.domain(0).is_none());
        let second = rig.open("01:00.0").unwrap();
        first.leave();
        drop(first);
        assert!(matches!(rig.open("01:00.0"), Err(VfioError::AlreadyOpen(_))));
        drop(second);
        assert!(rig.domain(1).is_none());
    }
}

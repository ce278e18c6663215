//! The I/O virtual address space of all SSDs, kept equal in every IOMMU domain.
//!
//! Path: none; this is set up before the first request. Its result is the [`Iova`] in every span.
//!
//! Invariants
//! - A region is in every attached IOMMU from `map` until its [`DmaRegion`] is dropped.
//! - An IOMMU that is attached later gets all existing mappings first.
//! - A region whose unmapping fails keeps its addresses forever: they are not allocated again.

use crate::iova::{IovaAllocator, IovaRange};
use crate::{Iova, Mapping};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// Alignment of regions and addresses to each other, in bytes, for huge pages in the IOMMU.
const ALIGN: u64 = 2 << 20;

/// An IOMMU domain (a VFIO container, an IOAS, a vfio-user peer) that memory can be mapped into.
pub trait Iommu: Send + Sync {
    /// Usable address ranges.
    ///
    /// # Errors
    /// The kernel's.
    fn usable(&self) -> io::Result<Vec<IovaRange>>;

    /// Maps for reading and writing by devices `len` bytes of `memory` from `offset`, at `iova`.
    ///
    /// # Errors
    /// The kernel's; nothing is mapped then.
    fn map(&self, iova: Iova, memory: &Mapping) -> io::Result<()>;

    /// Removes a mapping; afterwards no device can reach the memory.
    ///
    /// # Errors
    /// The kernel's.
    fn unmap(&self, iova: Iova, len: u64) -> io::Result<()>;
}

/// The address space of the SSDs. One for the whole process.
#[derive(Default)]
pub struct DmaSpace {
    /// Locked for as long as an IOMMU takes to map or unmap: shared, so that memory of one guest does not wait
    /// for that of another, and exclusive at the end of attaching one. Locked before `state`.
    iommus: RwLock<Vec<Arc<dyn Iommu>>>,
    /// Locked for moments only.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    allocator: IovaAllocator,
    mapped: BTreeMap<Iova, Arc<Mapping>>,
}

/// Regions that an IOMMU has which is being attached. Their memory is kept.
struct Known<'a> {
    iommu: &'a dyn Iommu,
    mapped: BTreeMap<Iova, Arc<Mapping>>,
}

impl Known<'_> {
    /// Unmaps and maps until the IOMMU has the regions `wanted`; on an error it has none.
    fn become_like(&mut self, wanted: BTreeMap<Iova, Arc<Mapping>>) -> io::Result<()> {
        let is_wanted = |iova: &Iova, memory: &Arc<Mapping>| {
            wanted.get(iova).is_some_and(|other| Arc::ptr_eq(other, memory))
        };
        let gone: Vec<_> = self.mapped.extract_if(.., |iova, memory| !is_wanted(iova, memory)).collect();
        let unmapped = gone.iter().try_for_each(|(iova, memory)| self.iommu.unmap(*iova, memory.len()));
        let new: Vec<_> = wanted.into_iter().filter(|(iova, _)| !self.mapped.contains_key(iova)).collect();
        let mapped =
            unmapped.and_then(|()| new.into_iter().try_for_each(|(iova, memory)| self.map(iova, memory)));
        mapped.inspect_err(|_| {
            self.mapped.iter().for_each(|(iova, memory)| drop(self.iommu.unmap(*iova, memory.len())));
        })
    }

    fn map(&mut self, iova: Iova, memory: Arc<Mapping>) -> io::Result<()> {
        self.iommu.map(iova, &memory)?;
        self.mapped.insert(iova, memory);
        Ok(())
    }
}

impl State {
    /// Restricts future allocations to what `iommu` accepts.
    fn restrict(&mut self, iommu: &dyn Iommu) -> io::Result<()> {
        self.allocator.restrict(&iommu.usable()?).map_err(|iova| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the IOMMU cannot map address {iova}, which is in use"),
            )
        })
    }

    /// Allocates addresses for memory that is about to be mapped.
    fn allocate(&mut self, memory: &Arc<Mapping>) -> io::Result<Iova> {
        let phase = memory.host().addr().get() as u64;
        let no_room = || io::Error::new(io::ErrorKind::OutOfMemory, "no I/O virtual addresses are left");
        let iova = self.allocator.allocate(memory.len(), ALIGN, phase).ok_or_else(no_room)?;
        self.mapped.insert(iova, memory.clone());
        Ok(iova)
    }

    /// Fails where memory of a guest would need more than half of the addresses that are left.
    fn check_share(&self, len: u64) -> io::Result<()> {
        let free = self.allocator.free();
        if len <= free / 2 {
            return Ok(());
        }
        let text = format!(
            "{len} bytes of guest memory are more than half of the {free} I/O virtual addresses that are left"
        );
        Err(io::Error::new(io::ErrorKind::OutOfMemory, text))
    }
}

impl DmaSpace {
    /// Makes an empty space without an IOMMU.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds an IOMMU and maps all regions into it.
    ///
    /// # Errors
    /// `InvalidInput` where something mapped lies outside of what it accepts, else the kernel's;
    /// the IOMMU is not attached then.
    pub fn attach(&self, iommu: Arc<dyn Iommu>) -> io::Result<()> {
        self.lock().restrict(&*iommu)?;
        let mut known = Known { iommu: &*iommu, mapped: BTreeMap::new() };
        // Without the lock that others wait for: an IOMMU may take its time. No device uses it yet.
        let mapped = self.lock().mapped.clone();
        known.become_like(mapped)?;
        let mut iommus = self.iommus.write().unwrap_or_else(PoisonError::into_inner);
        // The few that have come or gone meanwhile.
        let mapped = self.lock().mapped.clone();
        known.become_like(mapped)?;
        iommus.push(iommu);
        Ok(())
    }

    /// Updates the usable ranges of an attached IOMMU after a device has joined it.
    ///
    /// # Errors
    /// As for [`DmaSpace::attach`]; that device must leave then.
    pub fn narrow(&self, iommu: &dyn Iommu) -> io::Result<()> {
        self.lock().restrict(iommu)
    }

    /// Removes an IOMMU, after the last device behind it has gone.
    pub fn detach(&self, iommu: &Arc<dyn Iommu>) {
        let mut iommus = self.iommus.write().unwrap_or_else(PoisonError::into_inner);
        iommus.retain(|other| !Arc::ptr_eq(other, iommu));
    }

    /// Whether an SSD can reach memory of the space.
    pub(crate) fn has_iommu(&self) -> bool {
        !self.iommus().is_empty()
    }

    /// Maps `memory` into every IOMMU.
    ///
    /// # Errors
    /// `OutOfMemory` if no addresses are left, else the kernel's; nothing is mapped then.
    pub fn map(self: &Arc<Self>, memory: impl Into<Arc<Mapping>>) -> io::Result<DmaRegion> {
        let (iommus, memory) = (self.iommus(), memory.into());
        let iova = self.lock().allocate(&memory)?;
        self.map_at(iova, memory, &iommus)
    }

    /// Maps memory of a guest into every IOMMU. A guest gets at most half of the addresses that are left, so
    /// that there are always some for others and for Luge's own memory.
    ///
    /// # Errors
    /// As for [`DmaSpace::map`].
    pub(crate) fn map_for_guest(self: &Arc<Self>, memory: Arc<Mapping>) -> io::Result<DmaRegion> {
        let (iommus, mut state) = (self.iommus(), self.lock());
        state.check_share(memory.len())?;
        let iova = state.allocate(&memory)?;
        drop(state);
        self.map_at(iova, memory, &iommus)
    }

    /// Maps memory at addresses that were allocated for it.
    fn map_at(
        self: &Arc<Self>,
        iova: Iova,
        memory: Arc<Mapping>,
        iommus: &[Arc<dyn Iommu>],
    ) -> io::Result<DmaRegion> {
        let mut attempts = iommus.iter().map(|iommu| iommu.map(iova, &memory)).enumerate();
        if let Some((before, error)) = attempts.find_map(|(at, done)| Some((at, done.err()?))) {
            self.unmap_from(iommus.get(..before).unwrap_or_default(), iova, memory.len());
            return Err(error);
        }
        Ok(DmaRegion { space: self.clone(), iova, memory })
    }

    /// Unmaps a region from `iommus`. If one of them fails, an SSD may still reach the memory: `mapped` keeps it,
    /// and its addresses, forever.
    fn unmap_from(&self, iommus: &[Arc<dyn Iommu>], iova: Iova, len: u64) {
        if iommus.iter().filter(|iommu| iommu.unmap(iova, len).is_err()).count() == 0 {
            let mut state = self.lock();
            state.allocator.release(iova);
            let memory = state.mapped.remove(&iova);
            // Unmapped from this process without the lock.
            drop(state);
            drop(memory);
        }
    }

    fn iommus(&self) -> RwLockReadGuard<'_, Vec<Arc<dyn Iommu>>> {
        self.iommus.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory that every SSD reaches at [`DmaRegion::iova`]. When dropped, it is unmapped from
/// the IOMMUs first, then from the process.
pub struct DmaRegion {
    space: Arc<DmaSpace>,
    iova: Iova,
    memory: Arc<Mapping>,
}

impl DmaRegion {
    /// Address of the first byte for the SSDs.
    #[must_use]
    pub fn iova(&self) -> Iova {
        self.iova
    }

    /// The memory.
    #[must_use]
    pub fn memory(&self) -> &Mapping {
        &self.memory
    }

    /// Whether it is a region of `space`.
    pub(crate) fn is_in(&self, space: &Arc<DmaSpace>) -> bool {
        Arc::ptr_eq(&self.space, space)
    }
}

impl Drop for DmaRegion {
    fn drop(&mut self) {
        self.space.unmap_from(&self.space.iommus(), self.iova, self.memory.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread::{spawn, yield_now};
    use std::time::Duration;

    /// IOMMU that records its calls and fails on demand.
    #[derive(Default)]
    struct Ledger {
        mapped: Mutex<BTreeMap<Iova, u64>>,
        full: AtomicBool,
        stuck: AtomicBool,
    }

    impl Iommu for Ledger {
        fn usable(&self) -> io::Result<Vec<IovaRange>> {
            Ok(vec![IovaRange { first: 0, last: u64::MAX }])
        }

        fn map(&self, iova: Iova, memory: &Mapping) -> io::Result<()> {
            if self.full.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            self.mapped.lock().unwrap().insert(iova, memory.len());
            Ok(())
        }

        fn unmap(&self, iova: Iova, len: u64) -> io::Result<()> {
            if self.stuck.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Other.into());
            }
            assert_eq!(self.mapped.lock().unwrap().remove(&iova), Some(len));
            Ok(())
        }
    }

    fn memory(len: u64) -> Mapping {
        let file = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, len).unwrap();
        Mapping::new(&file, 0, len).unwrap()
    }

    #[test]
    fn a_region_is_in_every_iommu_until_it_is_dropped() {
        let (space, early, late) =
            (DmaSpace::new(), Arc::new(Ledger::default()), Arc::new(Ledger::default()));
        space.attach(early.clone()).unwrap();
        let region = space.map(memory(0x2000)).unwrap();
        space.attach(late.clone()).unwrap();
        assert_eq!(early.mapped.lock().unwrap().get(&region.iova()), Some(&0x2000));
        assert_eq!(late.mapped.lock().unwrap().get(&region.iova()), Some(&0x2000));
        drop(region);
        assert!(early.mapped.lock().unwrap().is_empty() && late.mapped.lock().unwrap().is_empty());
    }

    #[test]
    fn an_iommu_that_comes_to_accept_less_is_given_no_more_than_that() {
        struct Narrow(IovaRange);
        impl Iommu for Narrow {
            fn usable(&self) -> io::Result<Vec<IovaRange>> {
                Ok(vec![self.0])
            }
            fn map(&self, _: Iova, _: &Mapping) -> io::Result<()> {
                Ok(())
            }
            fn unmap(&self, _: Iova, _: u64) -> io::Result<()> {
                Ok(())
            }
        }
        let space = DmaSpace::new();
        space.narrow(&Narrow(IovaRange { first: 1 << 33, last: u64::MAX })).unwrap();
        let region = space.map(memory(0x1000)).unwrap();
        assert!(region.iova() >= Iova(1 << 33));
        assert!(space.narrow(&Narrow(IovaRange { first: 0, last: (1 << 33) - 1 })).is_err());
    }

    #[test]
    fn an_iommu_that_takes_long_to_attach_delays_no_other_and_has_what_came_meanwhile() {
        /// An IOMMU that maps its first region only when it is told to.
        struct Slow {
            ledger: Ledger,
            asked: Sender<()>,
            gate: Mutex<Receiver<()>>,
        }
        impl Iommu for Slow {
            fn usable(&self) -> io::Result<Vec<IovaRange>> {
                self.ledger.usable()
            }
            fn map(&self, iova: Iova, memory: &Mapping) -> io::Result<()> {
                // Both ends are gone after the first region.
                if self.asked.send(()).is_ok() {
                    let _ = self.gate.lock().unwrap().recv();
                }
                self.ledger.map(iova, memory)
            }
            fn unmap(&self, iova: Iova, len: u64) -> io::Result<()> {
                self.ledger.unmap(iova, len)
            }
        }
        let space = DmaSpace::new();
        let (first, second) = (space.map(memory(0x1000)).unwrap(), space.map(memory(0x3000)).unwrap());
        let ((asked, is_asked), (go_on, gate)) = (channel(), channel());
        let slow = Arc::new(Slow { ledger: Ledger::default(), asked, gate: Mutex::new(gate) });
        let (theirs, iommu) = (space.clone(), slow.clone());
        let attached = spawn(move || theirs.attach(iommu));
        is_asked.recv().unwrap();
        drop(is_asked);
        drop(second);
        let third = space.map(memory(0x5000)).unwrap();
        go_on.send(()).unwrap();
        attached.join().unwrap().unwrap();
        let expected = BTreeMap::from([(first.iova(), 0x1000), (third.iova(), 0x5000)]);
        assert_eq!(*slow.ledger.mapped.lock().unwrap(), expected);
        drop((first, third));
        assert!(slow.ledger.mapped.lock().unwrap().is_empty());
    }

    #[test]
    fn an_iommu_that_refuses_a_region_is_not_attached_and_keeps_none() {
        /// An IOMMU with room for one region.
        #[derive(Default)]
        struct Small(Ledger);
        impl Iommu for Small {
            fn usable(&self) -> io::Result<Vec<IovaRange>> {
                self.0.usable()
            }
            fn map(&self, iova: Iova, memory: &Mapping) -> io::Result<()> {
                if !self.0.mapped.lock().unwrap().is_empty() {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                self.0.map(iova, memory)
            }
            fn unmap(&self, iova: Iova, len: u64) -> io::Result<()> {
                self.0.unmap(iova, len)
            }
        }
        let (space, small) = (DmaSpace::new(), Arc::new(Small::default()));
        let _regions = [0x1000, 0x2000].map(|len| space.map(memory(len)).unwrap());
        assert!(space.attach(small.clone()).is_err());
        assert!(small.0.mapped.lock().unwrap().is_empty());
        assert!(!space.has_iommu());
    }

    #[test]
    fn memory_that_takes_long_to_map_delays_no_other() {
        /// An IOMMU that maps large memory only when it is told to.
        struct Slow(Mutex<Receiver<()>>);
        impl Iommu for Slow {
            fn usable(&self) -> io::Result<Vec<IovaRange>> {
                Ok(vec![IovaRange { first: 0, last: u64::MAX }])
            }
            fn map(&self, _: Iova, memory: &Mapping) -> io::Result<()> {
                if memory.len() > 0x1000 {
                    self.0.lock().unwrap().recv().unwrap();
                }
                Ok(())
            }
            fn unmap(&self, _: Iova, _: u64) -> io::Result<()> {
                Ok(())
            }
        }
        let (go_on, gate) = channel();
        let (done, other) = channel();
        let space = DmaSpace::new();
        space.attach(Arc::new(Slow(Mutex::new(gate)))).unwrap();
        let large = spawn({
            let space = space.clone();
            move || space.map(memory(0x10_0000)).unwrap().iova()
        });
        while space.lock().mapped.is_empty() {
            yield_now();
        }
        let small = spawn({
            let space = space.clone();
            move || done.send(space.map(memory(0x1000)).unwrap().iova()).unwrap()
        });
        let small_iova = other.recv_timeout(Duration::from_secs(30));
        go_on.send(()).unwrap();
        assert_ne!(small_iova.expect("it waited for the other"), large.join().unwrap());
        small.join().unwrap();
    }

    #[test]
    fn a_mapping_that_one_iommu_refuses_is_in_none() {
        let (space, good, full) = (DmaSpace::new(), Arc::new(Ledger::default()), Arc::new(Ledger::default()));
        space.attach(good.clone()).unwrap();
        space.attach(full.clone()).unwrap();
        full.full.store(true, Ordering::Relaxed);
        assert!(space.map(memory(0x1000)).is_err());
        assert!(good.mapped.lock().unwrap().is_empty());
    }

    #[test]
    fn memory_an_ssd_may_still_reach_is_never_given_back() {
        let (space, stuck) = (DmaSpace::new(), Arc::new(Ledger::default()));
        space.attach(stuck.clone()).unwrap();
        let region = space.map(memory(0x1000)).unwrap();
        stuck.stuck.store(true, Ordering::Relaxed);
        let (iova, weak) = (region.iova(), Arc::downgrade(&region.memory));
        drop(region);
        assert!(weak.upgrade().is_some());
        assert_ne!(space.map(memory(0x1000)).unwrap().iova(), iova);
    }

    #[test]
    fn nor_is_memory_that_one_iommu_refused_and_another_does_not_let_go() {
        let (space, stuck, full) =
            (DmaSpace::new(), Arc::new(Ledger::default()), Arc::new(Ledger::default()));
        space.attach(stuck.clone()).unwrap();
        space.attach(full.clone()).unwrap();
        stuck.stuck.store(true, Ordering::Relaxed);
        full.full.store(true, Ordering::Relaxed);
        assert!(space.map(memory(0x1000)).is_err());
        let lost = *stuck.mapped.lock().unwrap().first_key_value().unwrap().0;
        full.full.store(false, Ordering::Relaxed);
        assert_ne!(space.map(memory(0x1000)).unwrap().iova(), lost);
    }
}

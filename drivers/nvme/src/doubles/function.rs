//! A PCI function with faults: at its registers, and, on a thread of its own, at its queues.

use super::admin_queue::AdminQueue;
use super::faults::{Fault, Faults};
use super::queues::Queues;
use crate::scripted::memory::Reach;
use crate::scripted::queues::low_half;
use luge_memory::{DmaSpace, Iommu, MemoryAccess, NumaNode, PciFunction, PciId, Span};
use luge_spec::nvme::{Configuration, offset};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// CSTS.CFS.
const FATAL: u32 = 1 << 1;
/// CAP.TO, and the longest one that is passed on: a driver waits as long for a write that was lost.
const TIMEOUT: u32 = 0xff << 24;
const TIMEOUT_500MS: u32 = 2 << 24;

const PAUSE_BUSY: Duration = Duration::from_micros(20);
const PAUSE_IDLE: Duration = Duration::from_micros(500);
const BUSY: Duration = Duration::from_millis(10);

/// A PCI function that injects faults into another one.
pub struct FaultyFunction {
    shared: Arc<Shared>,
    space: Arc<DmaSpace>,
    iommu: Arc<dyn Iommu>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A test's handle to the faults of a function.
#[derive(Clone)]
pub struct FaultControl(Arc<Shared>);

struct Shared {
    inner: Box<dyn PciFunction>,
    reach: Arc<Reach>,
    state: Mutex<State>,
}

struct State {
    faults: Faults,
    admin: AdminQueue,
    queues: Queues,
    late: VecDeque<LateWrite>,
    is_fatal: bool,
    /// Number of times that the controller was stopped.
    stops: u64,
}

/// A register write that has not arrived yet.
struct LateWrite {
    due: Instant,
    at: u32,
    value: u32,
}

impl FaultyFunction {
    /// Wraps a function that reaches the memory of `space`.
    ///
    /// # Panics
    /// If there is no memory, or no thread.
    #[must_use]
    pub fn wrap(
        inner: Box<dyn PciFunction>,
        space: &Arc<DmaSpace>,
        faults: Faults,
    ) -> (Box<dyn PciFunction>, FaultControl) {
        let reach = Arc::new(Reach::default());
        reach.bus_master.store(true, Ordering::Relaxed);
        let iommu: Arc<dyn Iommu> = reach.clone();
        space.attach(iommu.clone()).expect("the double takes every address");
        let (admin, queues, late) = (AdminQueue::default(), Queues::new(space), VecDeque::new());
        let state = Mutex::new(State { faults, admin, queues, late, is_fatal: false, stops: 0 });
        let shared = Arc::new(Shared { inner, reach, state });
        let stop = Arc::new(AtomicBool::new(false));
        let (passing, stopped) = (shared.clone(), stop.clone());
        let thread = std::thread::spawn(move || passing.pass_until(&stopped));
        let control = FaultControl(shared.clone());
        let space = space.clone();
        (Box::new(Self { shared, space, iommu, stop, thread: Some(thread) }), control)
    }
}

impl Drop for FaultyFunction {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(JoinHandle::join);
        self.shared.lock().queues.stop();
        // Closed like a function that is dropped: a test may still have a handle.
        let _ = self.shared.inner.hand_back();
        self.space.detach(&self.iommu);
        assert!(
            !matches!(joined, Some(Err(_))) || std::thread::panicking(),
            "the double's thread has failed"
        );
    }
}

impl FaultControl {
    /// Injects other faults from now on.
    pub fn set(&self, faults: Faults) {
        let mut state = self.0.lock();
        state.faults = faults.after(&state.faults);
    }

    /// Sets CSTS.CFS, until the controller is disabled.
    pub fn fail(&self) {
        self.0.lock().is_fatal = true;
    }

    /// Number of times so far that the driver has stopped its controller, in any way.
    #[must_use]
    pub fn stops(&self) -> u64 {
        self.0.lock().stops
    }

    /// Injects no more faults.
    pub fn end(&self) {
        self.0.lock().faults.end();
    }

    /// Number of faults of a kind that were injected so far.
    #[must_use]
    pub fn injected(&self, fault: Fault) -> u64 {
        self.0.lock().faults.injected(fault)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_until(&self, stop: &AtomicBool) {
        let mut busy = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let mut state = self.lock();
            self.write_due(&mut state);
            let State { faults, queues, .. } = &mut *state;
            if queues.pass(faults) {
                busy = Instant::now();
            }
            drop(state);
            std::thread::sleep(if busy.elapsed() < BUSY { PAUSE_BUSY } else { PAUSE_IDLE });
        }
    }

    /// Writes what was late and is due.
    fn write_due(&self, state: &mut State) {
        let now = Instant::now();
        while let Some(write) = state.late.pop_front_if(|write| write.due <= now) {
            self.write(state, write.at, write.value);
        }
    }

    /// Writes a register.
    fn write(&self, state: &mut State, at: u32, value: u32) {
        match at {
            offset::CC if !Configuration(value).enabled() => self.stop(state),
            offset::DOORBELLS => {
                let State { admin, queues, .. } = state;
                admin.submit(low_half(value), &self.reach, |creation| queues.create(creation, &self.reach));
            }
            _ => state.admin.write(at, value),
        }
        self.inner.write32(at, value);
    }

    /// Forgets what has not arrived, before the controller is stopped.
    fn stop(&self, state: &mut State) {
        state.queues.stop();
        state.admin.reset();
        state.is_fatal = false;
        state.stops += 1;
    }
}

impl PciFunction for FaultyFunction {
    fn name(&self) -> &str {
        self.shared.inner.name()
    }

    fn id(&self) -> PciId {
        self.shared.inner.id()
    }

    fn read32(&self, at: u32) -> u32 {
        let mut state = self.shared.lock();
        self.shared.write_due(&mut state);
        if state.faults.draw(Fault::ReadOfOnes) {
            return u32::MAX;
        }
        match (at, self.shared.inner.read32(at)) {
            (_, u32::MAX) => u32::MAX,
            (offset::CAP, value) => value & !TIMEOUT | (value & TIMEOUT).min(TIMEOUT_500MS),
            (offset::CSTS, value) => {
                state.is_fatal |= value & 1 == 1 && state.faults.draw(Fault::Fatal);
                if state.is_fatal { value | FATAL } else { value }
            }
            (_, value) => value,
        }
    }

    fn write32(&self, at: u32, value: u32) {
        let mut state = self.shared.lock();
        self.shared.write_due(&mut state);
        if state.faults.draw(Fault::WriteDropped) {
            return;
        }
        if state.faults.draw(Fault::WriteLate) || !state.late.is_empty() {
            let due = state.faults.late();
            state.late.push_back(LateWrite { due, at, value });
            return;
        }
        self.shared.write(&mut state, at, value);
    }

    fn registers(&self, at: u32, len: u32) -> io::Result<Span> {
        let real = self.shared.inner.registers(at, len)?;
        let doorbells = self.shared.lock().queues.doorbells(at - offset::DOORBELLS, real);
        doorbells.ok_or_else(|| io::Error::other("the double has not so many doorbells"))
    }

    fn set_bus_master(&self, access: MemoryAccess) -> io::Result<()> {
        let mut state = self.shared.lock();
        if access == MemoryAccess::Forbidden {
            if state.faults.draw(Fault::BusMasterKept) {
                return Err(io::Error::other("the double keeps bus mastering this time"));
            }
            // An access to the configuration space pushes earlier writes before it.
            while let Some(LateWrite { at, value, .. }) = state.late.pop_front() {
                self.shared.write(&mut state, at, value);
            }
            self.shared.stop(&mut state);
        }
        self.shared.inner.set_bus_master(access)?;
        if access == MemoryAccess::Forbidden {
            state.queues.forget();
        }
        Ok(())
    }

    fn vectors(&self) -> u16 {
        self.shared.inner.vectors()
    }

    fn enable_interrupts(&self, count: u16) -> io::Result<Vec<OwnedFd>> {
        self.shared.inner.enable_interrupts(count)
    }

    fn reset(&self) -> io::Result<()> {
        let mut state = self.shared.lock();
        let torn = state.faults.draw(Fault::ResetTorn);
        let way = state.faults.detail(3);
        if torn && way == 0 {
            return Err(io::Error::other("the double does not reset this time"));
        }
        self.shared.stop(&mut state);
        state.late.clear();
        self.shared.inner.reset()?;
        match (torn, way) {
            (true, 1) => Err(io::Error::other("the double has reset, and says that it has not")),
            (true, _) => self.shared.inner.set_bus_master(MemoryAccess::Forbidden),
            (false, _) => Ok(()),
        }
    }

    fn recall(&self) -> Option<&OwnedFd> {
        self.shared.inner.recall()
    }

    fn hand_back(&self) -> io::Result<()> {
        self.shared.stop(&mut self.shared.lock());
        self.shared.inner.hand_back()
    }

    fn numa_node(&self) -> Option<NumaNode> {
        self.shared.inner.numa_node()
    }
}

//! A function of a BAR with registers, a doorbell page that clients map, and a configuration space.

use luge_memory::{GuestAddress, GuestMemory};
use luge_vfio_user::{
    Area, Client, Function, FunctionSource, Mappable, Progress, Region, RegionAccess, RegionIndex,
};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

/// Length of BAR 0: a page of registers, and one of doorbells.
pub const BAR_BYTES: u64 = 0x2000;
/// Offset of the doorbells, and their length.
pub const DOORBELLS: u64 = 0x1000;
/// Length of the configuration space.
pub const CONFIG_BYTES: u64 = 256;
/// Number of MSI-X vectors.
pub const VECTORS: u16 = 40;

/// An access that a function has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub region: u32,
    pub offset: u64,
    pub data: Vec<u8>,
}

/// Events of the functions of an endpoint.
pub struct State {
    pub connections: u64,
    /// Functions that were dropped.
    pub departures: u64,
    pub writes: Vec<Write>,
    pub vectors: Vec<Option<OwnedFd>>,
    pub triggers: Vec<u16>,
    pub memory: Arc<GuestMemory>,
    pub additions: u64,
    pub removals: u64,
    pub resets: u64,
    pub events: u64,
    /// Requests to leave the cores.
    pub moves: u64,
    pub failure: Option<String>,
    pub wake_at: Option<Instant>,
    /// Progress of removals and resets.
    pub progress: Progress,
}

/// Record of an endpoint's function.
pub struct Record {
    state: Mutex<State>,
    event: OwnedFd,
    pub doorbells: Arc<OwnedFd>,
}

impl Record {
    pub fn new() -> Self {
        let doorbells = memfd_create("doorbells", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&doorbells, BAR_BYTES).unwrap();
        let state = State {
            connections: 0,
            departures: 0,
            writes: Vec::new(),
            vectors: Vec::new(),
            triggers: Vec::new(),
            memory: Arc::default(),
            additions: 0,
            removals: 0,
            resets: 0,
            events: 0,
            moves: 0,
            failure: None,
            wake_at: None,
            progress: Progress::Done,
        };
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
        Self { state: Mutex::new(state), event, doorbells: Arc::new(doorbells) }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Lets the function have an event.
    pub fn signal(&self) {
        rustix::io::write(&self.event, &1_u64.to_ne_bytes()).unwrap();
    }

    /// Changes the progress of what is pending.
    pub fn set_progress(&self, progress: Progress) {
        self.state().progress = progress;
        self.signal();
    }

    /// The word in the client's memory at an address.
    #[expect(unsafe_code, reason = "the table is kept")]
    pub fn word_at(&self, at: u64) -> Option<u64> {
        let memory = self.state().memory.clone();
        // SAFETY: the table outlives the span.
        let span = unsafe { memory.whole_span(GuestAddress(at), 8) }?;
        span.first().map(u64::from_ne_bytes)
    }

    /// Address in this process of an address of the client.
    #[expect(unsafe_code, reason = "nothing is accessed")]
    pub fn host_address(&self, at: u64) -> Option<usize> {
        let memory = self.state().memory.clone();
        // SAFETY: nothing is accessed.
        let span = unsafe { memory.whole_span(GuestAddress(at), 8) }?;
        Some(span.host().addr().get())
    }

    pub fn regions(&self) -> usize {
        self.state().memory.len()
    }
}

/// Maker of the functions of an endpoint.
pub struct Echo(pub Arc<Record>);

impl FunctionSource for Echo {
    fn connect(&self, _: Client) -> Box<dyn Function> {
        let mut state = self.0.state();
        state.connections += 1;
        state.memory = Arc::default();
        state.vectors = (0..VECTORS).map(|_| None).collect();
        drop(state);
        Box::new(EchoFunction { record: self.0.clone(), registers: vec![0; 0x1000], config: vec![0; 256] })
    }
}

struct EchoFunction {
    record: Arc<Record>,
    registers: Vec<u8>,
    config: Vec<u8>,
}

impl EchoFunction {
    /// Bytes of a region from an offset on, as far as the function keeps them.
    fn bytes(&mut self, region: RegionIndex, offset: u64) -> &mut [u8] {
        let all = if region == RegionIndex::CONFIG { &mut self.config } else { &mut self.registers };
        let offset = usize::try_from(offset).unwrap().min(all.len());
        &mut all[offset..]
    }
}

impl Function for EchoFunction {
    fn region(&self, index: RegionIndex) -> Region {
        let areas = vec![Area { offset: DOORBELLS, len: BAR_BYTES - DOORBELLS }];
        let mappable = Mappable { file: self.record.doorbells.clone(), file_offset: 0, areas };
        let access = RegionAccess::ReadWrite;
        match index {
            RegionIndex::BAR0 => Region { len: BAR_BYTES, access, mappable: Some(mappable) },
            RegionIndex::CONFIG => Region { len: CONFIG_BYTES, access, mappable: None },
            RegionIndex::ROM => Region { len: 16, access: RegionAccess::Read, mappable: None },
            _ => Region::ABSENT,
        }
    }

    fn vectors(&self) -> u16 {
        VECTORS
    }

    fn read(&mut self, region: RegionIndex, offset: u64, data: &mut [u8]) {
        let bytes = self.bytes(region, offset);
        let len = bytes.len().min(data.len());
        data[..len].copy_from_slice(&bytes[..len]);
    }

    fn write(&mut self, region: RegionIndex, offset: u64, data: &[u8]) {
        let bytes = self.bytes(region, offset);
        let len = bytes.len().min(data.len());
        bytes[..len].copy_from_slice(&data[..len]);
        let write = Write { region: region.0.get(), offset, data: data.to_vec() };
        let mut state = self.record.state();
        if state.writes.len() < 10_000 {
            state.writes.push(write);
        }
    }

    fn set_vectors(&mut self, first: u16, eventfds: Vec<Option<OwnedFd>>) {
        let mut state = self.record.state();
        for (vector, eventfd) in (usize::from(first)..).zip(eventfds) {
            state.vectors[vector] = eventfd;
        }
    }

    fn trigger(&mut self, vector: u16) {
        assert!(vector < VECTORS);
        let mut state = self.record.state();
        if state.triggers.len() < 10_000 {
            state.triggers.push(vector);
        }
    }

    fn memory_added(&mut self, memory: &Arc<GuestMemory>) {
        let mut state = self.record.state();
        assert!(memory.has_all_of(&state.memory));
        state.additions += 1;
        state.memory = memory.clone();
    }

    fn memory_removed(&mut self, memory: &Arc<GuestMemory>) -> Progress {
        let mut state = self.record.state();
        assert!(state.memory.has_all_of(memory));
        state.removals += 1;
        state.memory = memory.clone();
        state.progress
    }

    fn reset(&mut self) -> Progress {
        let mut state = self.record.state();
        state.resets += 1;
        state.progress
    }

    fn leave_cores(&mut self) {
        self.record.state().moves += 1;
    }

    fn failure(&self) -> Option<String> {
        self.record.state().failure.clone()
    }

    fn progress(&mut self) -> Progress {
        self.record.state().progress
    }

    fn event(&self) -> Option<BorrowedFd<'_>> {
        Some(self.record.event.as_fd())
    }

    fn wake_at(&self) -> Option<Instant> {
        self.record.state().wake_at
    }

    fn on_event(&mut self) {
        let _ = rustix::io::read(&self.record.event, &mut [0; 8]);
        let mut state = self.record.state();
        state.events += 1;
        state.wake_at = None;
    }
}

impl Drop for EchoFunction {
    fn drop(&mut self) {
        let mut state = self.record.state();
        state.departures += 1;
        state.memory = Arc::default();
        state.vectors.clear();
    }
}

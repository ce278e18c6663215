//! The messages of a front end.
//!
//! Invariants
//! - A message that is refused ends the connection: nothing is left half-done.
//! - Memory is added under running rings; before any is taken away they are drained.
//! - Memory that went missing by itself is noticed before its table is forgotten.

#![expect(unsafe_code, reason = "the memory of running rings is replaced")]

use super::background::Background;
use super::inflight::{self, Limits, Tracking};
use super::memory::{self, Costly, Lost, MappingTarget, REGIONS_MAX};
use super::shared_now::SharedNow;
use super::vring::{Areas, Common, Started, Vring};
use crate::device::VirtioDevice;
use crate::queue::RING_FEATURES;
use crate::served::Served;
use crate::state::{ConnectionState, EventfdsState, HandedOver, InflightState, Negotiated, StateError};
use crate::status::RunningQueue;
use luge_core::{Call, Kick, Promise};
use luge_memory::stall::Stalls;
use luge_memory::{DriverAddress, GuestAddress, GuestMemory, GuestRegion};
use luge_spec::virtio::Features;
use luge_virtqueue::QueueSize;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{Shutdown, shutdown};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserSharedMsg,
    VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Backend, Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};

/// The most ring entries of a front end, all its rings together: 256 rings of 1024. The memory that a ring
/// needs here is proportional to its entries, and a front end may ask for any number.
const ENTRIES_MAX: u32 = 256 * 1024;

/// Features of vhost-user that are offered.
const PROTOCOL_FEATURES: VhostUserProtocolFeatures = VhostUserProtocolFeatures::MQ
    .union(VhostUserProtocolFeatures::REPLY_ACK)
    .union(VhostUserProtocolFeatures::BACKEND_REQ)
    .union(VhostUserProtocolFeatures::CONFIG)
    .union(VhostUserProtocolFeatures::INFLIGHT_SHMFD)
    .union(VhostUserProtocolFeatures::RESET_DEVICE)
    .union(VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS);

/// A front end that is connected.
pub(super) struct FrontEnd {
    served: Arc<Served>,
    place: MappingTarget,
    common: Common,
    vrings: Vec<Vring>,
    negotiated: Negotiated,
    /// The core that serves its rings instead of the endpoint's, where those had to wait for its memory.
    background: Option<Background>,
    /// Whether its connection has ended.
    is_finished: bool,
    /// Why it was cut off.
    cut_off: Option<Costly>,
    /// Promise of the file descriptors of its regions of memory.
    region_files: Promise,
    /// Memory that it shares, for who watches it.
    shared_now: Arc<SharedNow>,
    /// Memory in which rings that start note their requests in flight.
    tracking: Option<Tracking>,
    /// Channel for requests to the front end, from a message that is about to be handled.
    offered: Option<UnixStream>,
}

impl FrontEnd {
    pub(super) fn new(served: Arc<Served>, connection: Arc<UnixStream>) -> Self {
        let device = served.device.clone();
        let space = device.uses_dma().then(|| served.space.clone());
        let place = MappingTarget { space, connection };
        let vrings = vrings(&device);
        let tenant = served.tenant(&GuestMemory::default());
        let (features, coalescing) = (Features::default(), served.coalescing.clone());
        let region_files = Promise::of_none(&served.descriptors);
        let common = Common { device, features, memory: Arc::default(), coalescing, tenant };
        Self {
            served,
            place,
            common,
            vrings,
            negotiated: Negotiated::default(),
            background: None,
            is_finished: false,
            cut_off: None,
            region_files,
            shared_now: Arc::default(),
            tracking: None,
            offered: None,
        }
    }

    /// Memory that it shares, for who watches it.
    pub(super) fn shared_now(&self) -> &Arc<SharedNow> {
        &self.shared_now
    }

    /// Keeps a channel for requests to the front end, until the message that brings it is handled.
    pub(super) fn offer_channel(&mut self, channel: UnixStream) {
        self.offered = Some(channel);
    }

    /// Promises the file descriptors of so many regions of memory, before they are mapped.
    fn promise_regions(&mut self, regions: usize) -> Result<()> {
        self.region_files.resize(memory::descriptors(regions)).map_err(refusal)
    }

    /// Replaces the guest's memory.
    fn set_memory(&mut self, memory: GuestMemory) {
        self.common.tenant = self.served.tenant(&memory);
        self.common.memory = Arc::new(memory);
        self.shared_now.set_guest(&self.common.memory);
    }

    /// Replaces the memory for requests in flight.
    fn set_tracking(&mut self, tracking: Option<Tracking>) {
        self.shared_now.set_tracking(tracking.as_ref());
        self.tracking = tracking;
    }

    /// Moves all rings to a core of their own, because its memory has kept their cores waiting. Cuts the front
    /// end off where that is not possible.
    pub(super) fn leave_cores(&mut self, stalls: Stalls) {
        if self.is_finished || self.background.is_some() || self.cut_off.is_some() {
            return;
        }
        let Served { name, device, log, ledger, .. } = &*self.served;
        match Background::start(device) {
            Ok(background) => {
                log.costly.line(|| {
                    tracing::warn!(
                        "{name}: a core has waited {:?} for memory of the front end (are holes made in its file?): a \
                         slow thread of its own serves it from now on",
                        stalls.longest
                    );
                });
                ledger.peers().left_cores(stalls);
                self.stop();
                self.background = Some(background);
                self.start_with_memory();
            }
            Err(error) => {
                self.cut_off = Some(Costly(error));
                // It fails only if the front end has gone already.
                let _ = shutdown(&*self.place.connection, Shutdown::Both);
            }
        }
    }

    /// Leaves the cores where another disk of the guest has shown that its memory keeps cores waiting.
    fn leave_cores_if_stalled(&mut self) {
        let stalls = self.shared_now.stalls();
        if stalls.count > 0 {
            self.leave_cores(stalls);
        }
    }

    /// Fails if it was cut off, or memory that was shared was missing when it was touched.
    pub(super) fn intact(&mut self) -> Result<()> {
        if let Some(costly) = self.cut_off.take() {
            return Err(refusal(costly));
        }
        let faults = self.tracking.as_ref().map_or(0, Tracking::faults);
        if self.common.memory.faults() == 0 && faults == 0 { Ok(()) } else { Err(refusal(Lost)) }
    }

    /// Stops all rings: everything that was taken from them is answered.
    pub(super) fn stop(&mut self) {
        for (vring, index) in self.vrings.iter_mut().zip(0..) {
            vring.stop();
            report_stop(&self.served, index);
        }
    }

    /// Stops all rings, and returns the state and the files of the connection, for another process.
    ///
    /// # Errors
    /// Memory was missing, a session has kept a chain, or no more files can be open.
    pub(super) fn export(&mut self) -> Result<HandedOver> {
        let mut eventfds = Vec::new();
        let queues: Vec<_> = self.vrings.iter_mut().map(|vring| vring.export(&mut eventfds)).collect();
        self.finish();
        self.intact()?;
        let queues = queues.into_iter().collect::<std::result::Result<_, _>>().map_err(refusal)?;
        let state = ConnectionState {
            negotiated: self.negotiated,
            features: self.common.features.0,
            regions: self.common.memory.regions().map(memory::state).collect(),
            inflight: self.tracking.as_ref().map(Tracking::state),
            queues,
        };
        let regions = self.common.memory.regions().filter_map(GuestRegion::file);
        let kept = regions.chain(self.tracking.as_ref().map(|tracking| tracking.file().as_fd()));
        let mut files: Vec<_> =
            kept.map(|file| file.try_clone_to_owned()).collect::<io::Result<_>>().map_err(refusal)?;
        files.append(&mut eventfds);
        Ok(HandedOver { socket: self.place.connection.try_clone().map_err(refusal)?, state, files })
    }

    /// Goes on with a connection of another process, whose negotiation was replayed: starts the rings that
    /// ran.
    ///
    /// # Errors
    /// The state does not fit the device, or what it describes is not possible. Rings may run then.
    pub(super) fn resume(&mut self, state: &ConnectionState, files: Vec<OwnedFd>) -> Result<()> {
        let ConnectionState { features, regions, inflight, queues, .. } = state;
        self.check(state).map_err(refusal)?;
        let mut files = files.into_iter();
        self.common.features = Features(*features);
        let regions: Vec<_> = regions.iter().map(memory::message).collect();
        let shared: Vec<_> = files.by_ref().take(regions.len()).map(File::from).collect();
        if shared.len() < regions.len() {
            return Err(refusal(StateError::Files));
        }
        self.promise_regions(regions.len())?;
        self.set_memory(memory::table(&self.place, &regions, &shared).map_err(refusal)?);
        if let Some(InflightState { size, offset, queues, entries }) = *inflight {
            let file = files.next().ok_or_else(|| refusal(StateError::Files))?;
            let layout = VhostUserInflight::new(size, offset, queues, entries);
            let tracking = Tracking::map(&self.place, &layout, file.into(), self.inflight_limits());
            self.set_tracking(Some(tracking.map_err(refusal)?));
        }
        for (index, queue) in (0..).zip(queues) {
            let vring = self.vrings.get_mut(usize::from(index)).ok_or(Error::InvalidParam)?;
            if queue.eventfds != EventfdsState::default() {
                vring.reserve(&self.served.descriptors).map_err(refusal)?;
            }
            if vring.restore(queue, &mut files).map_err(refusal)? {
                self.start(index)?;
            }
        }
        self.leave_cores_if_stalled();
        if files.next().is_none() { Ok(()) } else { Err(refusal(StateError::Files)) }
    }

    /// Checks that the device can serve a connection of another process.
    fn check(&self, state: &ConnectionState) -> std::result::Result<(), StateError> {
        let device = self.served.device.queues();
        if state.queues.len() > device.into() {
            return Err(StateError::Queues { state: state.queues.len(), device });
        }
        if !offered(&*self.served.device).contains(Features(state.features)) {
            return Err(StateError::Features(state.features));
        }
        Ok(())
    }

    /// Ends it: its rings are stopped, and its memory is not needed any more.
    pub(super) fn finish(&mut self) {
        self.stop();
        self.is_finished = true;
        self.background = None;
    }

    /// Starts a ring, if it has all that it needs.
    fn start(&mut self, index: u16) -> Result<()> {
        let vring = self.vrings.get_mut(usize::from(index)).ok_or(Error::InvalidParam)?;
        let region = self.tracking.as_ref().map(|tracking| tracking.region(index));
        let region = region.transpose().map_err(refusal)?.flatten();
        let own = self.background.as_ref().map(|background| [background.serving()]);
        let cores = own.as_ref().map_or(&*self.served.cores, |own| own);
        let started = vring.start(&self.common, cores, region).map_err(refusal)?;
        if let Some(Started { core, counters }) = started {
            let size = vring.size.map_or(0, QueueSize::get);
            self.served.ledger.running(RunningQueue { index, core, size, counters });
            self.served.notices.ring_started();
        }
        Ok(())
    }

    fn start_all(&mut self) -> Result<()> {
        (0..self.served.device.queues()).try_for_each(|index| self.start(index))
    }

    /// Changes a ring; one that runs is drained first and goes on afterwards.
    fn change(&mut self, index: u32, change: impl FnOnce(&mut Vring)) -> Result<()> {
        let vring = self.vring(index)?;
        vring.stop();
        change(vring);
        let index = u16::try_from(index).map_err(|_| Error::InvalidParam)?;
        report_stop(&self.served, index);
        self.start(index)
    }

    fn inflight_limits(&self) -> Limits {
        Limits { queues: self.served.device.queues(), entries: ENTRIES_MAX }
    }

    /// Reserves the file descriptors of a ring that is about to get a notifier.
    fn reserve(&mut self, index: u8) -> Result<()> {
        let descriptors = self.served.descriptors.clone();
        self.vring(index.into())?.reserve(&descriptors).map_err(refusal)
    }

    fn vring(&mut self, index: u32) -> Result<&mut Vring> {
        let index = usize::try_from(index).map_err(|_| Error::InvalidParam)?;
        self.vrings.get_mut(index).ok_or(Error::InvalidParam)
    }

    /// Starts the rings that can. A front end may take a ring's memory away before it stops
    /// the ring: that one waits.
    fn start_with_memory(&mut self) {
        memory::warn_of_unmapped(&self.served, &self.common.memory);
        self.leave_cores_if_stalled();
        for index in 0..self.served.device.queues() {
            if let Err(error) = self.start(index) {
                let Served { name, log, .. } = &*self.served;
                log.waiting.line(|| tracing::warn!("{name}: queue {index} waits for its memory: {error}"));
            }
        }
    }
}

/// Rings of a front end that has sent no message yet.
fn vrings(device: &Arc<dyn VirtioDevice>) -> Vec<Vring> {
    (0..device.queues()).map(|index| Vring::new(device, index)).collect()
}

/// Features that a device offers, with those of its rings.
fn offered(device: &dyn VirtioDevice) -> Features {
    device.features() | RING_FEATURES
}

/// Removes a queue that has stopped from the ledger, and logs that its ring is broken, if it is.
fn report_stop(served: &Served, index: u16) {
    if served.ledger.stopped(index).is_some_and(|counters| counters.broken()) {
        let name = &served.name;
        served.log.broken.line(|| tracing::warn!("{name}: the guest has broken the ring of queue {index}"));
    }
}

/// A refusal with its reason, for the log.
fn refusal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::ReqHandlerError(io::Error::other(error))
}

fn call(file: Option<File>) -> Result<Option<Call>> {
    file.map(|file| Call::new(kept(file)?).map_err(refusal)).transpose()
}

fn kick(file: Option<File>) -> Result<Option<Kick>> {
    file.map(|file| Kick::new(kept(file)?).map_err(refusal)).transpose()
}

/// Marks a file as close-on-exec, which `vhost` does not do: no child process is to have it.
fn kept(file: File) -> Result<OwnedFd> {
    fcntl_setfd(&file, FdFlags::CLOEXEC).map_err(refusal)?;
    Ok(file.into())
}

impl VhostUserBackendReqHandlerMut for FrontEnd {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    /// Deprecated; the specification lets it disable all rings.
    fn reset_owner(&mut self) -> Result<()> {
        self.reset_device()
    }

    /// Rings and features are as at the start. The memory stays.
    fn reset_device(&mut self) -> Result<()> {
        self.stop();
        self.vrings = vrings(&self.common.device);
        self.intact()?;
        self.set_tracking(None);
        self.common.features = Features::default();
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        self.negotiated.has_asked = true;
        Ok(offered(&*self.served.device).0)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        let features = Features(features);
        if !offered(&*self.served.device).contains(features) {
            return Err(Error::FeatureMismatch);
        }
        self.negotiated.features = features.0;
        if features != self.common.features {
            self.stop();
            self.common.features = features;
            self.start_all()?;
        }
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<u64>>> {
        self.stop();
        self.intact()?;
        // The old table goes first: pages count against the limit of locked memory once.
        self.set_memory(GuestMemory::default());
        self.promise_regions(regions.len())?;
        self.set_memory(memory::table(&self.place, regions, &files).map_err(refusal)?);
        self.start_with_memory();
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        let size = QueueSize::new(num).map_err(refusal)?;
        let others = self.vrings.iter().zip(0..).filter(|&(_, other)| other != index);
        let entries = others.filter_map(|(vring, _)| vring.size).map(|size| u32::from(size.get()));
        if entries.fold(num, u32::saturating_add) > ENTRIES_MAX {
            return Err(refusal("the rings are too large together"));
        }
        self.change(index, |vring| vring.size = Some(size))
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        // Logging is not offered.
        if !flags.is_empty() {
            return Err(Error::InvalidParam);
        }
        let areas = Areas {
            descriptors: DriverAddress(descriptor),
            available: DriverAddress(available),
            used: DriverAddress(used),
        };
        if self.vring(index)?.areas == Some(areas) {
            return Ok(());
        }
        self.change(index, |vring| vring.areas = Some(areas))
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let base = u16::try_from(base).map_err(|_| Error::InvalidParam)?;
        self.change(index, |vring| vring.base = base)
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let vring = self.vring(index)?;
        vring.halt();
        let base = vring.base;
        report_stop(&self.served, u16::try_from(index).map_err(|_| Error::InvalidParam)?);
        Ok(VhostUserVringState::new(index, base.into()))
    }

    fn set_vring_kick(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        self.reserve(index)?;
        let kick = kick(fd)?;
        self.change(index.into(), |vring| vring.set_kick(kick))
    }

    fn set_vring_call(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        self.reserve(index)?;
        let call = call(fd)?;
        self.vring(index.into())?.set_call(call);
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        self.reserve(index)?;
        let error = call(fd)?;
        self.change(index.into(), |vring| vring.set_error(error))
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(PROTOCOL_FEATURES)
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        let known = VhostUserProtocolFeatures::from_bits(features);
        if known.is_some_and(|features| PROTOCOL_FEATURES.contains(features)) {
            self.negotiated.protocol_features = features;
            self.served.notices.negotiated(features);
            Ok(())
        } else {
            Err(Error::FeatureMismatch)
        }
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.served.device.queues().into())
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        if self.vring(index)?.enabled == enable {
            return Ok(());
        }
        self.change(index, |vring| vring.enabled = enable)
    }

    fn get_config(&mut self, offset: u32, size: u32, _flags: VhostUserConfigFlags) -> Result<Vec<u8>> {
        let Served { device, notices, .. } = &*self.served;
        Ok(notices.read(|| device.config(offset, size)))
    }

    /// No field can be written; a guest that tries is to see no change, and no other harm.
    fn set_config(&mut self, _offset: u32, _bytes: &[u8], _flags: VhostUserConfigFlags) -> Result<()> {
        Ok(())
    }

    /// The crate's own form of the channel is not needed beside it.
    fn set_backend_req_fd(&mut self, _backend: Backend) {
        self.served.notices.set_channel(self.offered.take());
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Ok(REGIONS_MAX)
    }

    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        file: File,
        _postcopy: Option<bool>,
    ) -> Result<Option<u64>> {
        if self.common.memory.len() as u64 >= REGIONS_MAX {
            return Err(refusal(format!("there are {REGIONS_MAX} regions of memory already")));
        }
        self.promise_regions(self.common.memory.len().saturating_add(1))?;
        let table = memory::add(&self.place, &self.common.memory, region, &file).map_err(refusal)?;
        self.set_memory(table);
        for vring in &self.vrings {
            // SAFETY: the table is the one before and a region more.
            unsafe { vring.replace_memory(&self.common.memory) };
        }
        self.start_with_memory();
        Ok(None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        let (guest, len) = (GuestAddress(region.guest_phys_addr), region.memory_size);
        let fewer = self.common.memory.without(guest, len).map_err(refusal)?;
        self.stop();
        self.intact()?;
        self.set_memory(fewer);
        self.promise_regions(self.common.memory.len())?;
        self.start_with_memory();
        Ok(())
    }

    fn set_gpu_socket(&mut self, _gpu_backend: GpuBackend) -> Result<()> {
        Err(Error::InvalidOperation("this is no GPU"))
    }

    fn get_shared_object(&mut self, _uuid: VhostUserSharedMsg) -> Result<File> {
        Err(Error::InvalidOperation("shared objects are not offered"))
    }

    fn get_inflight_fd(&mut self, asked: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        inflight::make(asked, self.inflight_limits()).map_err(refusal)
    }

    fn set_inflight_fd(&mut self, layout: &VhostUserInflight, file: File) -> Result<()> {
        self.stop();
        self.intact()?;
        let tracking = Tracking::map(&self.place, layout, file, self.inflight_limits());
        self.set_tracking(Some(tracking.map_err(refusal)?));
        self.start_all()
    }

    fn set_device_state_fd(
        &mut self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _file: File,
    ) -> Result<Option<File>> {
        Err(Error::InvalidOperation("device state is not offered"))
    }

    fn check_device_state(&mut self) -> Result<()> {
        Err(Error::InvalidOperation("device state is not offered"))
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        Err(Error::InvalidOperation("shared memory is not offered"))
    }

    fn set_log_base(&mut self, _log: &VhostUserLog, _file: File) -> Result<()> {
        Err(Error::InvalidOperation("logging is not offered"))
    }
}

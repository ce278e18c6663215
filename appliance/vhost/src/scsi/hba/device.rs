//! The adapter as a virtio device (virtio 1.3, clause 5.6), and as its operator sees it.

use super::sessions::{RingBeginning, SeatName};
use super::shared::Shared;
use super::{HbaConfig, HbaError, LunError, LunStatus, REQUEST_QUEUES_MAX, thread};
use crate::device::{NewSession, QueueKind, QueueSession, SessionAddress, VirtioDevice};
use crate::queue::{QueueError, QueueSetup};
use crate::scsi::control::ControlSession;
use crate::scsi::events::{EventSession, PendingEvents};
use crate::scsi::lun::LunAddress;
use crate::scsi::relay::Relay;
use crate::scsi::session::RequestSession;
use luge_block::CoreId;
use luge_core::{AttachError, CoreHandle, Locality, best_first};
use luge_memory::NodeAmounts;
use luge_scsi::LogicalUnit;
use luge_spec::virtio::Features;
use luge_spec::virtio::scsi::{
    CDB_BYTES, CONTROL_QUEUE, Config, EVENT_QUEUE, Event, REQUEST_QUEUE, SENSE_BYTES,
};
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::thread::JoinHandle;
use zerocopy::IntoBytes;

/// Segments of a request: what a ring of 128 entries, QEMU's default, can hold besides the request and the response.
const SEGMENTS_MAX: u32 = 126;

/// Sectors of 512 bytes of a request that drivers make. Longer ones are served, too.
const SECTORS_MAX: u32 = 0xffff;

/// Requests to one LUN that drivers have in flight at a time.
const REQUESTS_PER_LUN: u32 = 128;

/// The highest logical unit number that drivers look for, which some take for a count.
const LUN_MAX: u32 = 16383;

/// A SCSI host bus adapter with up to 256 targets of up to 256 LUNs each. Dropped after its endpoint; its LUNs are
/// removed then, which may take as long as SSDs do.
pub struct ScsiHba {
    shared: Arc<Shared>,
    /// Cores that serve the queues.
    cores: Vec<CoreHandle>,
    request_queues: u16,
    thread: Option<JoinHandle<()>>,
}

impl ScsiHba {
    /// Makes an adapter without LUNs, and starts its thread.
    ///
    /// # Errors
    /// [`HbaError`]; nothing is kept then.
    pub fn open(config: HbaConfig) -> Result<Self, HbaError> {
        let HbaConfig { name, cores, request_queues, group } = config;
        if !(1..=REQUEST_QUEUES_MAX).contains(&request_queues) {
            return Err(HbaError::Queues(request_queues));
        }
        if cores.is_empty() {
            return Err(HbaError::NoCores);
        }
        let mut cores = best_first(&cores, &Locality::default());
        cores.truncate(request_queues.into());
        let shared = Arc::new(Shared::new(name, cores.clone(), group, Arc::new(Relay::new()?)));
        let thread = Some(thread::start(&shared)?);
        Ok(Self { shared, cores, request_queues, thread })
    }

    /// Adds a LUN, of which the guest is told. Blocks while devices open queues.
    ///
    /// # Errors
    /// [`LunError`]; nothing has changed then.
    pub fn add_lun(&self, address: LunAddress, unit: &Arc<LogicalUnit>) -> Result<(), LunError> {
        self.shared.add(address, unit)
    }

    /// Removes a LUN, of which the guest is told. Blocks until nothing refers to it: as long as the slowest SSD takes.
    /// If it is being removed already, waits for that.
    ///
    /// # Errors
    /// [`LunError`]; nothing has changed then.
    pub fn remove_lun(&self, address: LunAddress) -> Result<(), LunError> {
        self.shared.remove(address)
    }

    /// All LUNs, in the order of their addresses. Does not wait for cores.
    #[must_use]
    pub fn luns(&self) -> Vec<LunStatus> {
        self.shared.luns().status()
    }

    /// Tells the guest that the volume of a unit has another size, which the cores of the process serve by now. Does not
    /// wait for cores. The unit is told by the caller, once for all adapters.
    pub fn resized(&self, unit: &Arc<LogicalUnit>) {
        self.shared.resized(unit);
    }

    /// Removes the LUNs of a unit whose device has gone for good. Returns at once; a LUN is gone when its last requests
    /// have ended.
    pub fn unit_gone(&self, unit: &Arc<LogicalUnit>) {
        self.shared.unit_gone(unit);
    }

    fn config_space(&self) -> Config {
        Config {
            num_queues: u32::from(self.request_queues).into(),
            seg_max: SEGMENTS_MAX.into(),
            max_sectors: SECTORS_MAX.into(),
            cmd_per_lun: REQUESTS_PER_LUN.into(),
            event_info_size: u32::try_from(size_of::<Event>()).unwrap_or(0).into(),
            sense_size: u32::try_from(SENSE_BYTES).unwrap_or(0).into(),
            cdb_size: u32::try_from(CDB_BYTES).unwrap_or(0).into(),
            max_channel: 0.into(),
            max_target: u16::from(u8::MAX).into(),
            max_lun: LUN_MAX.into(),
        }
    }
}

impl VirtioDevice for ScsiHba {
    fn features(&self) -> Features {
        Features::SCSI_HOTPLUG | Features::SCSI_CHANGE
    }

    fn queues(&self) -> u16 {
        self.request_queues.saturating_add(REQUEST_QUEUE)
    }

    fn kind(&self, queue: u16) -> QueueKind {
        match queue {
            CONTROL_QUEUE => QueueKind::Control,
            EVENT_QUEUE => QueueKind::Events,
            _ => QueueKind::Requests,
        }
    }

    fn config(&self, offset: u32, len: u32) -> Vec<u8> {
        let config = self.config_space();
        let from_offset = config.as_bytes().iter().copied().skip(offset as usize);
        from_offset.chain(std::iter::repeat(0)).take(len as usize).collect()
    }

    fn cores(&self) -> Vec<CoreHandle> {
        self.cores.clone()
    }

    fn attach(&self, core: &CoreHandle) -> Result<(), AttachError> {
        self.shared.add_core(core)
    }

    fn detach(&self, core: CoreId) {
        self.shared.remove_core(core);
    }

    fn nodes(&self) -> NodeAmounts {
        self.shared.luns().nodes()
    }

    fn session(&self, queue: u16, _core: CoreId, setup: QueueSetup) -> Result<NewSession, QueueError> {
        let begins = beginning(&setup);
        let relay = self.shared.relay.clone();
        match self.kind(queue) {
            QueueKind::Control => {
                let session = ControlSession::new(relay, setup)?;
                Ok(self.made(SeatName { queue, number: session.number() }, begins, session))
            }
            QueueKind::Requests => {
                let session = RequestSession::new(queue, relay, setup)?;
                Ok(self.made(SeatName { queue, number: session.number() }, begins, session))
            }
            QueueKind::Events => {
                self.shared.sessions().set_features(setup.features);
                Ok(NewSession::new(EventSession::new(PendingEvents::default(), setup)?))
            }
        }
    }

    fn started(&self, queue: u16, at: SessionAddress) {
        self.shared.sessions().started(queue, at);
        if queue >= REQUEST_QUEUE {
            self.shared.initiator.set_live();
        }
        self.shared.relay.ring();
    }

    fn stopped(&self, queue: u16) {
        self.shared.sessions().stopped(queue);
    }

    fn left(&self, queue: u16) {
        self.shared.sessions().left(queue);
        self.shared.relay.ring();
    }
}

impl ScsiHba {
    fn made(&self, name: SeatName, begins: RingBeginning, session: impl QueueSession) -> NewSession {
        self.shared.sessions().made(name, begins);
        NewSession::new(session)
    }
}

/// Whether a ring begins anew.
fn beginning(setup: &QueueSetup) -> RingBeginning {
    if setup.base == 0 && setup.resumed.is_none() { RingBeginning::Fresh } else { RingBeginning::GoesOn }
}

impl Drop for ScsiHba {
    fn drop(&mut self) {
        let removed = self.shared.luns().stop();
        self.shared.relay.ring();
        removed.into_iter().for_each(|address| self.shared.finish_removal(address));
        self.shared.quit.store(true, Release);
        self.shared.relay.ring();
        // A thread that panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

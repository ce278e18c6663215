//! A disk as a virtio device: a volume that is open on the cores that serve it.

use super::disk::BlkDisk;
use super::session::{BlkSession, OpenVolume};
use crate::device::{NewSession, QUEUES_MAX, QueueKind, VirtioDevice};
use crate::queue::{QueueError, QueueSetup};
use luge_block::{Access, Blocks, CoreId};
use luge_core::{AttachError, Attachment, Attachments, CoreHandle, Locality, best_first};
use luge_memory::NodeAmounts;
use luge_spec::virtio::Features;
use luge_volume::{Source, Volume};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// Description of a disk.
pub struct BlkConfig {
    /// The volume.
    pub volume: Arc<Volume>,
    /// Whether guests can write.
    pub access: Access,
    /// Serial number of the disk: the first 20 bytes count.
    pub serial: String,
    /// Cores that may serve its queues. One is chosen for each queue when that starts.
    pub cores: Vec<CoreHandle>,
    /// Number of queues that it offers: 1 to [`QUEUES_MAX`].
    pub queues: u16,
}

/// Reason why a disk cannot be served.
#[derive(Debug, Error)]
pub enum BlkError {
    /// An impossible number of queues.
    #[error("{0} queues are not possible: a disk has 1 to {QUEUES_MAX}")]
    Queues(u16),
    /// No core to serve it.
    #[error("a disk needs at least one core")]
    NoCores,
    /// The volume cannot be opened on a core.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// A disk, open on the cores that serve it.
pub struct BlkDevice {
    /// The disk with the size that it was opened with.
    disk: BlkDisk,
    /// Number of blocks that guests are told now.
    blocks: AtomicU64,
    /// The volume on each core that serves the disk.
    attachments: Vec<Attachment>,
    /// Attachments of the volume to background cores.
    background: Mutex<Vec<Attachment>>,
    volume: Arc<Volume>,
    /// NUMA nodes of the devices beneath the volume.
    nodes: NodeAmounts,
    /// Whether a device beneath the volume transfers data itself.
    uses_dma: bool,
}

impl BlkDevice {
    /// Opens the volume on the cores.
    ///
    /// # Errors
    /// [`BlkError`]; nothing is kept then.
    pub fn open(config: BlkConfig) -> Result<Self, BlkError> {
        let BlkConfig { volume, access, serial, cores, queues } = config;
        if !(1..=QUEUES_MAX).contains(&queues) {
            return Err(BlkError::Queues(queues));
        }
        if cores.is_empty() {
            return Err(BlkError::NoCores);
        }
        let volume = match access {
            Access::ReadWrite => volume,
            Access::ReadOnly => Arc::new(volume.read_only_view()),
        };
        let attachments = attach(&cores, &volume, queues)?;
        let disk = BlkDisk::new(volume.geometry(), access, &serial, queues);
        let blocks = AtomicU64::new(disk.geometry().blocks.0);
        let (nodes, uses_dma) = (volume.nodes(), volume.uses_dma());
        Ok(Self { disk, blocks, attachments, background: Mutex::default(), volume, nodes, uses_dma })
    }

    /// The volume on each core that serves the disk.
    #[must_use]
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// Takes over the present size of the volume, which the cores of the process serve by now; returns whether it is
    /// another one. The front end is to be told then ([`crate::ConfigNotices::changed`]). Does not wait for cores.
    pub fn resize(&self) -> bool {
        if let Source::Device(device) = self.volume.source() {
            self.background().iter().for_each(|attachment| attachment.core().resize_soon(device));
        }
        let blocks = self.volume.geometry().blocks.0;
        self.blocks.swap(blocks, Relaxed) != blocks
    }

    /// Number of blocks that guests are told.
    #[must_use]
    pub fn blocks(&self) -> Blocks {
        Blocks(self.blocks.load(Relaxed))
    }

    fn background(&self) -> MutexGuard<'_, Vec<Attachment>> {
        self.background.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether guests can only read.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.disk.geometry().read_only
    }
}

/// Opens the volume on the best of the cores, no more than there are queues. Cores for which the SSD beneath
/// has no queue pair left are left out, as long as one remains.
fn attach(cores: &[CoreHandle], volume: &Arc<Volume>, queues: u16) -> Result<Vec<Attachment>, AttachError> {
    let locality = Locality { devices: volume.nodes(), ..Locality::default() };
    let attached = Attachments::open(&best_first(cores, &locality), volume, queues.into())?;
    if let Some(error) = attached.left_out {
        let serving = attached.list.iter().map(|attachment| attachment.core().id().0);
        tracing::warn!("{error}; cores {:?} serve it", serving.collect::<Vec<u16>>());
    }
    Ok(attached.list)
}

impl VirtioDevice for BlkDevice {
    fn features(&self) -> Features {
        self.disk.features()
    }

    fn queues(&self) -> u16 {
        self.disk.queues()
    }

    fn kind(&self, _queue: u16) -> QueueKind {
        QueueKind::Requests
    }

    fn config(&self, offset: u32, len: u32) -> Vec<u8> {
        self.disk.with_blocks(self.blocks()).config(offset, len)
    }

    fn cores(&self) -> Vec<CoreHandle> {
        self.attachments.iter().map(|attachment| attachment.core().clone()).collect()
    }

    fn attach(&self, core: &CoreHandle) -> Result<(), AttachError> {
        let attachment = core.attach(&self.volume)?;
        self.background().push(attachment);
        // It may have been resized before the core was in the list.
        if let Source::Device(device) = self.volume.source() {
            core.resize_soon(device);
        }
        Ok(())
    }

    fn detach(&self, core: CoreId) {
        let is_there = |attachment: &mut Attachment| attachment.core().id() == core;
        let gone: Vec<Attachment> = self.background().extract_if(.., is_there).collect();
        drop(gone);
    }

    fn nodes(&self) -> NodeAmounts {
        self.nodes.clone()
    }

    fn uses_dma(&self) -> bool {
        self.uses_dma
    }

    fn session(&self, queue: u16, core: CoreId, setup: QueueSetup) -> Result<NewSession, QueueError> {
        let background = self.background();
        let mut attachments = self.attachments.iter().chain(&*background);
        let attachment = attachments.find(|attachment| attachment.core().id() == core);
        let attachment = attachment.ok_or(QueueError::Unserved(queue))?;
        let volume = OpenVolume { id: attachment.volume(), stats: attachment.stats().clone() };
        let disk = self.disk.with_blocks(self.blocks());
        Ok(NewSession::new(BlkSession::new(disk, volume, setup)?))
    }
}

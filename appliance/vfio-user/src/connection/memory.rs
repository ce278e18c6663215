//! Memory of a client: DMA_MAP and DMA_UNMAP.
//!
//! Invariants
//! - The function has the newest table before a client is told that memory was mapped, and before it can cause any
//!   other access.
//! - Memory that was unmapped is not in the table any more, whether or not requests in flight still need it.

use super::message::{Answer, Files, Refusal, Reply, split};
use super::version::DMA_MAPS_MAX;
use super::watched::WatchedMemory;
use crate::function::{Function, Progress};
use crate::served::Served;
use luge_core::Promise;
use luge_endpoint::MemoryUser;
use luge_memory::{
    DeviceAccess, DriverAddress, GuestAddress, GuestMemory, GuestRegion, PeerFiles, PeerMemoryError,
    RegionError, RegionLayout,
};
use luge_spec::vfio_user::{DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags};
use rustix::io::Errno;
use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Memory of a client.
pub(super) struct ClientMemory {
    served: Arc<Served>,
    files: PeerFiles,
    /// Promise of the file descriptors of `files`.
    descriptors: Promise,
    table: Arc<GuestMemory>,
    watched: Arc<WatchedMemory>,
    /// Whether the function has the table.
    is_published: bool,
}

impl ClientMemory {
    pub(super) fn new(served: Arc<Served>, connection: Arc<UnixStream>, watched: Arc<WatchedMemory>) -> Self {
        let files = PeerFiles::new(served.space.clone(), connection);
        let descriptors = Promise::of_none(&served.descriptors);
        Self { served, files, descriptors, table: Arc::default(), watched, is_published: true }
    }

    /// Whether memory was found missing.
    pub(super) fn is_lost(&self) -> bool {
        self.table.faults() > 0
    }

    pub(super) fn is_published(&self) -> bool {
        self.is_published
    }

    /// Gives the table to the function, if it has changed.
    pub(super) fn publish(&mut self, function: &mut dyn Function) {
        if !self.is_published {
            self.is_published = true;
            function.memory_added(&self.table);
        }
    }

    /// Adds the memory of a DMA_MAP to the table.
    ///
    /// # Errors
    /// `EEXIST` where memory is mapped already, `ENOSPC` after the last mapping, and what the kernel refuses.
    pub(super) fn map(&mut self, payload: &[u8], files: Files) -> Result<Reply, Refusal> {
        let (DmaMap { flags, offset, address, size, .. }, _) = split(payload)?;
        let mut files = files.take()?;
        let file = files.pop();
        let layout = RegionLayout {
            guest: GuestAddress(address.get()),
            driver: DriverAddress(address.get()),
            len: size.get(),
            file_offset: if file.is_some() { offset.get() } else { 0 },
        };
        if !files.is_empty() || layout.guest.checked_add(layout.len).is_none() || layout.len == 0 {
            return Err(Refusal(Errno::INVAL));
        }
        if !self.table.is_free(&layout) {
            return Err(Refusal(Errno::EXIST));
        }
        if self.table.len() >= DMA_MAPS_MAX {
            return Err(Refusal(Errno::NOSPC));
        }
        if let Some(file) = &file {
            self.table.check_room(&layout, file).map_err(|error| self.refusal(&error))?;
        }
        let region = self.region(layout, access(flags), file.as_ref().map(AsFd::as_fd))?;
        if let Some(reason) = region.unmappable() {
            let name = &self.served.name;
            self.served.log.unmapped.line(|| {
                tracing::warn!(
                    "{name}: commands with buffers in the {} bytes at guest address {} fail: they are in {reason}",
                    layout.len,
                    layout.guest
                );
            });
        }
        let stalls = region.stalls();
        self.replace(self.table.with(region).map_err(|error| self.refusal(&error))?);
        self.is_published = false;
        if stalls.count > 0 {
            // Another device of the guest has shown it.
            self.watched.leave_cores(stalls);
        }
        Ok(Reply::empty())
    }

    /// Makes a region. Files that are mapped stay open: their descriptors are promised before, one more than there are.
    fn region(
        &mut self,
        layout: RegionLayout,
        access: DeviceAccess,
        file: Option<BorrowedFd<'_>>,
    ) -> Result<GuestRegion, Refusal> {
        let before = self.files.count() as u64;
        self.descriptors
            .resize(before.saturating_add(1))
            .map_err(|error| self.refused(&error, Errno::MFILE))?;
        let region = self.files.region(layout, access, file);
        // Fewer are never refused.
        let _ = self.descriptors.resize(self.files.count() as u64);
        region.map_err(|error| self.refusal(&error))
    }

    /// Removes the memory of a DMA_UNMAP from the table.
    ///
    /// # Errors
    /// `ENOENT` where nothing is mapped, `EINVAL` where a mapping is only in part in the range.
    pub(super) fn unmap(&mut self, payload: &[u8], function: &mut dyn Function) -> Result<Answer, Refusal> {
        let (request, _) = split::<DmaUnmap>(payload)?;
        let table = self.without(&request)?;
        self.publish(function);
        let is_empty_change = table.len() == self.table.len();
        let before = self.replace(table);
        let argsz = u32::try_from(size_of::<DmaUnmap>()).unwrap_or(0).into();
        let reply = Reply::of(&DmaUnmap { argsz, ..request });
        let progress = if is_empty_change { Progress::Done } else { function.memory_removed(&self.table) };
        // The function keeps what requests in flight need.
        drop(before);
        Ok(match progress {
            Progress::Done => Answer::Now(reply),
            Progress::Pending => Answer::Later(reply),
        })
    }

    /// Replaces the table; returns the one before.
    fn replace(&mut self, table: GuestMemory) -> Arc<GuestMemory> {
        let table = Arc::new(table);
        self.watched.replace(&table);
        std::mem::replace(&mut self.table, table)
    }

    /// Table after a DMA_UNMAP.
    fn without(&self, request: &DmaUnmap) -> Result<GuestMemory, Refusal> {
        let (guest, len) = (GuestAddress(request.address.get()), request.size.get());
        match request.flags.0.get() {
            0 => self.table.without_all(guest, len).map_err(|error| self.refusal(&error)),
            DmaUnmapFlags::ALL if guest.0 == 0 && len == 0 => Ok(GuestMemory::default()),
            DmaUnmapFlags::GET_DIRTY_BITMAP => Err(Refusal(Errno::NOTSUP)),
            _ => Err(Refusal(Errno::INVAL)),
        }
    }

    /// Refusal of a mapping, with the reason in the log.
    fn refusal(&self, error: &RegionError) -> Refusal {
        let errno = match error {
            RegionError::Shape { .. } | RegionError::Split { .. } => Errno::INVAL,
            RegionError::Overlap { .. } => Errno::EXIST,
            RegionError::Unknown { .. } => Errno::NOENT,
            RegionError::TooManyFiles(_) => Errno::NOSPC,
            RegionError::File(_) => Errno::MFILE,
            RegionError::Map(PeerMemoryError::Map(_)) => Errno::INVAL,
            RegionError::TooLarge { .. } | RegionError::Map(_) | RegionError::Dma(_) => Errno::NOMEM,
        };
        self.refused(error, errno)
    }

    fn refused(&self, reason: &dyn Display, errno: Errno) -> Refusal {
        let name = &self.served.name;
        self.served.log.refused.line(|| tracing::info!("{name}: memory of the client is refused: {reason}"));
        Refusal(errno)
    }
}

/// Access of the function to memory with these flags. All memory can be read.
fn access(flags: DmaMapFlags) -> DeviceAccess {
    if flags.contains(DmaMapFlags::WRITE) { DeviceAccess::ReadWrite } else { DeviceAccess::ReadOnly }
}

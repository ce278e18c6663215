//! The contract between an emulated PCI function and the connection of its client.
//!
//! Invariants
//! - A function belongs to one client, and is dropped when that has left. The next one finds nothing of it.
//! - All methods are called by the connection's thread, and none of them waits for an SSD. What has to wait for
//!   requests in flight is [`Progress::Pending`], and goes on in [`Function::on_event`].

use crate::Client;
use luge_memory::GuestMemory;
use luge_spec::vfio_user::RegionIndex;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// Maker of a function for each client of an endpoint.
pub trait FunctionSource: Send + Sync {
    /// Makes the function of a client, as it is after power-on, without memory and interrupts.
    fn connect(&self, client: Client) -> Box<dyn Function>;
}

/// An emulated PCI function.
///
/// It has the regions of a PCI function (BARs, configuration space) and MSI-X interrupts. It has no interrupt line and
/// no MSI: its configuration space says so.
///
/// When dropped, its client has left: memory and eventfds are used no more than requests in flight need. Dropping
/// waits for no SSD: what is in flight keeps the memory that it needs.
pub trait Function: Send {
    /// A region; [`Region::ABSENT`] where there is none. It stays the same.
    fn region(&self, index: RegionIndex) -> Region;

    /// Number of MSI-X vectors. It stays the same.
    fn vectors(&self) -> u16;

    /// Reads bytes that are all in a region which can be read. A driver's access to a BAR has one to eight bytes; a
    /// client may ask for any number up to [`crate::DATA_BYTES_MAX`], and at any offset.
    fn read(&mut self, region: RegionIndex, offset: u64, data: &mut [u8]);

    /// Writes bytes that are all in a region which can be written. Their number is as for [`Self::read`].
    fn write(&mut self, region: RegionIndex, offset: u64, data: &[u8]);

    /// Sets what MSI-X vectors signal, from `first` on: an eventfd, or nothing. All are vectors of the function. The
    /// eventfds are the client's, who may fill them: writing to them must not block.
    fn set_vectors(&mut self, first: u16, eventfds: Vec<Option<OwnedFd>>);

    /// Signals a vector, as a client may ask for a test.
    fn trigger(&mut self, vector: u16);

    /// Replaces the memory of the client. The new table has all regions of the one before, and more.
    fn memory_added(&mut self, memory: &Arc<GuestMemory>);

    /// Replaces the memory of the client. The new table lacks regions of the one before: requests that are taken from
    /// now on do not reach them. Done once no request in flight refers to them, whatever else is pending.
    fn memory_removed(&mut self, memory: &Arc<GuestMemory>) -> Progress;

    /// Resets the function: it is as after power-on, but for memory and eventfds, which stay. Done once no
    /// request in flight refers to memory of the client.
    fn reset(&mut self) -> Progress;

    /// Moves everything that touches the client's memory off the cores, which have had to wait for it. Goes on in
    /// [`Self::on_event`]; a function that cannot be served elsewhere fails.
    fn leave_cores(&mut self);

    /// Reason for which the function does not serve its client any longer: the connection ends.
    fn failure(&self) -> Option<String>;

    /// Progress of what was pending: [`Progress::Done`] once every removal of memory and every reset is.
    fn progress(&mut self) -> Progress;

    /// Descriptor that is readable when [`Self::on_event`] is to be called.
    fn event(&self) -> Option<BorrowedFd<'_>>;

    /// Time at which [`Self::on_event`] is to be called at the latest.
    fn wake_at(&self) -> Option<Instant>;

    /// Goes on: the event is readable, or the time has come. It may also be called without a reason.
    fn on_event(&mut self);
}

/// State of what may have to wait for requests in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Complete.
    Done,
    /// Requests in flight are waited for.
    Pending,
}

/// A region of a function.
#[derive(Clone, Debug)]
pub struct Region {
    /// Length in bytes; zero where there is none.
    pub len: u64,
    /// Directions of access by message.
    pub access: RegionAccess,
    /// Areas that a client can map.
    pub mappable: Option<Mappable>,
}

impl Region {
    /// A region that does not exist.
    pub const ABSENT: Self = Self { len: 0, access: RegionAccess::None, mappable: None };
}

/// Directions of access to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionAccess {
    /// No access.
    None,
    /// Reads.
    Read,
    /// Reads and writes.
    ReadWrite,
}

/// Areas of a region that a client can map.
#[derive(Clone, Debug)]
pub struct Mappable {
    /// File of the areas, sealed against a change of its length.
    pub file: Arc<OwnedFd>,
    /// Offset in the file of the region's first byte.
    pub file_offset: u64,
    /// Areas in whole pages, at most [`Mappable::AREAS_MAX`].
    pub areas: Vec<Area>,
}

impl Mappable {
    /// Most areas of a region.
    pub const AREAS_MAX: usize = 16;
}

/// Area of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Offset in the region, in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

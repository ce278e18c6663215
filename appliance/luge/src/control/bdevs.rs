//! Block devices by name, with their sources and their users.
//!
//! Invariants
//! - A name or UUID means one device (`identifiers`).
//! - A device with users is not deleted; a split device has no other user.

use super::identifiers::Identifiers;
use super::pr_scope::PrOwner;
use super::units::{UnitNames, Units};
use crate::control::{Names, Table};
use luge_block::{CoreId, Lba};
use luge_rpc::RpcError;
use luge_scsi::LogicalUnit;
use luge_volume::{Counters, Histogram, TimedOperation, Volume};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

/// Source of a block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Memory of the budget.
    Malloc {
        /// Size in bytes.
        bytes: u64,
    },
    /// No data: writes are dropped, reads give zeroes.
    Null,
    /// A file or a block device of the host.
    Aio {
        /// Path of the file.
        filename: PathBuf,
        /// Whether the block size was given by the operator.
        block_size_override: bool,
    },
    /// A namespace of an SSD.
    Namespace {
        /// The SSD.
        ssd: String,
        /// The namespace's number.
        id: u32,
    },
    /// A part of another block device.
    Part {
        /// Name of the other device.
        base: String,
        /// First block there.
        first: Lba,
    },
}

impl Source {
    /// Name of the kind of device.
    #[must_use]
    pub const fn product(&self) -> &'static str {
        match self {
            Self::Malloc { .. } => "Malloc disk",
            Self::Null => "Null disk",
            Self::Aio { .. } => "AIO disk",
            Self::Namespace { .. } => "NVMe disk",
            Self::Part { .. } => "Split Disk",
        }
    }

    /// Method that deletes the device.
    #[must_use]
    pub const fn remover(&self) -> &'static str {
        match self {
            Self::Malloc { .. } => "bdev_malloc_delete",
            Self::Null => "bdev_null_delete",
            Self::Aio { .. } => "bdev_aio_delete",
            Self::Namespace { .. } => "bdev_nvme_detach_controller",
            Self::Part { .. } => "bdev_split_delete",
        }
    }

    /// Method that resizes the device, where that is possible.
    #[must_use]
    pub const fn resizer(&self) -> Option<&'static str> {
        match self {
            Self::Malloc { .. } => Some("bdev_malloc_resize"),
            Self::Null => Some("bdev_null_resize"),
            Self::Aio { .. } => Some("bdev_aio_rescan"),
            Self::Namespace { .. } | Self::Part { .. } => None,
        }
    }
}

/// User of a block device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum User {
    /// The devices that it is split into.
    Split,
    /// A vhost controller that serves it.
    Endpoint(String),
    /// A SCSI controller that has it as a LUN.
    Lun(String),
    /// An NVMe subsystem that has it as a namespace.
    Subsystem(String),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Split => write!(f, "its split (bdev_split_delete)"),
            Self::Endpoint(name) => write!(f, "vhost controller {name} (vhost_delete_controller)"),
            Self::Lun(name) => {
                write!(f, "vhost controller {name} as a LUN (vhost_scsi_controller_remove_target)")
            }
            Self::Subsystem(nqn) => write!(f, "subsystem {nqn} (nvmf_subsystem_remove_ns)"),
        }
    }
}

/// Change of a block device that a call makes on a thread of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Resize,
    Deletion,
}

impl Change {
    const fn word(self) -> &'static str {
        match self {
            Self::Resize => "resized",
            Self::Deletion => "deleted",
        }
    }
}

/// Latencies of a block device when a client enabled its histogram.
pub struct HistogramStart {
    /// The only operation that is counted; none for all.
    pub operation: Option<TimedOperation>,
    /// Latencies at that time.
    pub before: Histogram,
}

/// A block device.
pub struct Bdev {
    /// Identity.
    pub uuid: Uuid,
    /// Source.
    pub source: Source,
    /// Volume that is served.
    pub volume: Arc<Volume>,
    /// Users.
    pub users: BTreeSet<User>,
    /// Histogram that a client has enabled.
    pub histogram: Option<HistogramStart>,
    /// Counters of each core when they were last reset.
    before: BTreeMap<CoreId, Counters>,
    /// Change that a call makes now.
    change: Option<Change>,
    /// SCSI logical units.
    units: Units,
}

impl Bdev {
    /// A device without users.
    #[must_use]
    pub fn new(uuid: Uuid, source: Source, volume: Volume) -> Self {
        let volume = Arc::new(volume);
        let (users, before, units) = Default::default();
        Self { uuid, source, volume, users, histogram: None, before, change: None, units }
    }

    /// Whether a call resizes it now.
    #[must_use]
    pub fn is_resizing(&self) -> bool {
        self.change == Some(Change::Resize)
    }

    /// SCSI logical unit for an owner of reservations.
    ///
    /// # Errors
    /// -32602 for names that are not possible, or differ from those that the device has by another LUN.
    pub fn unit(&mut self, owner: Option<&PrOwner>, names: UnitNames) -> Result<Arc<LogicalUnit>, RpcError> {
        self.units.unit(owner, &self.volume, self.uuid, names)
    }

    /// The volume as an endpoint serves it: with the reservations of their owner, or those of all users.
    pub fn volume_for(&mut self, owner: Option<&PrOwner>) -> Arc<Volume> {
        match owner {
            None => self.volume.clone(),
            Some(owner) => Arc::new(self.volume.view(self.units.reservations_of(owner))),
        }
    }

    /// Counters of a core since they were last reset.
    #[must_use]
    pub fn counters(&self, core: CoreId) -> Counters {
        self.volume.stats(core).read() - self.before.get(&core).copied().unwrap_or_default()
    }

    /// Resets all counters.
    pub fn reset_counters(&mut self) {
        let cores = self.volume.counting_cores().into_iter();
        self.before = cores.map(|core| (core, self.volume.stats(core).read())).collect();
    }

    /// Resets the counters of failures.
    pub fn reset_failures(&mut self) {
        for core in self.volume.counting_cores() {
            let Counters { failed, aborted, .. } = self.volume.stats(core).read();
            let before = self.before.entry(core).or_default();
            (before.failed, before.aborted) = (failed, aborted);
        }
    }

    /// Forgets the shortest and longest latencies.
    pub fn reset_extremes(&self) {
        let cores = self.volume.counting_cores().into_iter();
        cores.for_each(|core| self.volume.stats(core).latencies().forget_extremes());
    }

    fn check_settled(&self, name: &str) -> Result<(), RpcError> {
        match self.change {
            Some(change) => {
                Err(RpcError::busy(format_args!("bdev {name} is being {}: try again", change.word())))
            }
            None => Ok(()),
        }
    }

    fn check_unused(&self, name: &str) -> Result<(), RpcError> {
        self.check_settled(name)?;
        self.check_users(name, |_| true)
    }

    fn check_users(&self, name: &str, counts: impl Fn(&User) -> bool) -> Result<(), RpcError> {
        match self.users.iter().find(|user| counts(user)) {
            Some(user) => {
                Err(RpcError::busy(format_args!("bdev {name} is in use by {user}: end that first")))
            }
            None => Ok(()),
        }
    }
}

/// The block devices.
pub struct Bdevs {
    table: Table<Bdev>,
    identifiers: Identifiers,
}

impl Default for Bdevs {
    fn default() -> Self {
        Self { table: Table::new("bdev", "bdev_get_bdevs", Names::Any), identifiers: Identifiers::default() }
    }
}

impl Bdevs {
    /// Reserves a name and a UUID for a device that is being made. Without a name, it is the first
    /// free one that begins with `prefix`; without a UUID, or with the nil one, it is a random one.
    ///
    /// # Errors
    /// -17 if one of them is taken, -22 if the name is none.
    pub fn reserve(
        &mut self,
        name: Option<String>,
        prefix: &str,
        uuid: Option<Uuid>,
    ) -> Result<(String, Uuid), RpcError> {
        let name = name.unwrap_or_else(|| self.free_name(prefix));
        let uuid = uuid.filter(|uuid| !uuid.is_nil()).unwrap_or_else(Uuid::new_v4);
        self.check_free(&name, uuid)?;
        self.table.reserve(&name)?;
        self.identifiers.add(&name, uuid);
        Ok((name, uuid))
    }

    /// Whether a name and a UUID could be reserved.
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub fn check_free(&self, name: &str, uuid: Uuid) -> Result<(), RpcError> {
        self.table.check_free(name)?;
        self.identifiers.check_free(name, uuid)
    }

    fn free_name(&self, prefix: &str) -> String {
        let free = (0..u32::MAX).map(|n| format!("{prefix}{n}")).find(|n| self.table.check_free(n).is_ok());
        free.unwrap_or_else(|| prefix.into())
    }

    /// Adds a device that was made.
    pub fn put(&mut self, name: &str, bdev: Bdev) {
        self.identifiers.add(name, bdev.uuid);
        self.table.put(name, bdev);
    }

    /// Frees name and UUID of a device that could not be made, or is gone.
    pub fn release(&mut self, name: &str, uuid: Uuid) {
        self.table.release(name);
        self.identifiers.remove(name, uuid);
    }

    /// Whether nobody uses a device.
    ///
    /// # Errors
    /// -19 if it is not there, -16 if it is in use.
    pub fn check_unused(&self, name: &str) -> Result<(), RpcError> {
        self.table.get(name)?.check_unused(name)
    }

    /// Removes a device that nobody uses. Its name stays reserved until `release`.
    ///
    /// # Errors
    /// -19 if it is not there, -16 if it is in use.
    pub fn take(&mut self, name: &str) -> Result<Bdev, RpcError> {
        self.check_unused(name)?;
        self.table.take(name)
    }

    /// Removes all devices, also those in use. Their names stay reserved until `release`.
    pub fn take_all(&mut self) -> Vec<(String, Bdev)> {
        self.table.take_all()
    }

    /// Name of the device that has this name or UUID.
    ///
    /// # Errors
    /// -19 if there is none.
    pub fn resolve(&self, name: &str) -> Result<String, RpcError> {
        let name = self.identifiers.owner(name).unwrap_or(name);
        self.table.get(name).map(|_| name.into())
    }

    /// A device.
    ///
    /// # Errors
    /// -19 if there is none of that name.
    pub fn get(&self, name: &str) -> Result<&Bdev, RpcError> {
        self.table.get(name)
    }

    /// The device of that name, to change it.
    ///
    /// # Errors
    /// -19 if there is none.
    pub fn get_mut(&mut self, name: &str) -> Result<&mut Bdev, RpcError> {
        self.table.get_mut(name)
    }

    /// Adds a user of a device. A split has it alone.
    ///
    /// # Errors
    /// -19 if there is no such device, -16 if the two do not go together, or the device is being changed.
    pub fn claim(&mut self, name: &str, user: User) -> Result<Arc<Volume>, RpcError> {
        let bdev = self.table.get_mut(name)?;
        bdev.check_settled(name)?;
        if user == User::Split || bdev.users.contains(&User::Split) {
            bdev.check_unused(name)?;
        }
        bdev.users.insert(user);
        Ok(bdev.volume.clone())
    }

    /// Reserves a device for one call that resizes it.
    ///
    /// # Errors
    /// -19 if it is not there, -16 if it is being changed.
    pub fn begin_resize(&mut self, name: &str) -> Result<(), RpcError> {
        self.begin(name, Change::Resize)
    }

    /// Reserves a device for one call that deletes it.
    ///
    /// # Errors
    /// As [`Self::begin_resize`].
    pub fn begin_deletion(&mut self, name: &str) -> Result<(), RpcError> {
        self.begin(name, Change::Deletion)
    }

    fn begin(&mut self, name: &str, change: Change) -> Result<(), RpcError> {
        let bdev = self.table.get_mut(name)?;
        bdev.check_settled(name)?;
        bdev.change = Some(change);
        Ok(())
    }

    /// Ends a change, whatever its outcome.
    pub fn end_change(&mut self, name: &str) {
        if let Ok(bdev) = self.table.get_mut(name) {
            bdev.change = None;
        }
    }

    /// Whether a device has no users but LUNs, and no call changes it.
    ///
    /// # Errors
    /// -19 if it is not there, -16 if it is in use otherwise, or being changed.
    pub fn check_luns_only(&self, name: &str) -> Result<(), RpcError> {
        let bdev = self.table.get(name)?;
        bdev.check_settled(name)?;
        bdev.check_users(name, |user| !matches!(user, User::Lun(_)))
    }

    /// Removes a user of a device.
    pub fn unclaim(&mut self, name: &str, user: &User) {
        if let Ok(bdev) = self.table.get_mut(name) {
            bdev.users.remove(user);
        }
    }

    /// Whether no device is being made, resized or deleted.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.table.is_settled() && self.iter().all(|(_, bdev)| bdev.change.is_none())
    }

    /// All devices, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bdev)> {
        self.table.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_block::{Blocks, NullDevice, Shape};

    fn bdevs() -> Bdevs {
        let mut bdevs = Bdevs::default();
        let device = NullDevice::new(Shape::new(512, Blocks(8)).unwrap());
        let (name, uuid) = bdevs.reserve(Some("a".into()), "", None).unwrap();
        bdevs.put(&name, Bdev::new(uuid, Source::Null, Volume::whole(Arc::new(device))));
        bdevs
    }

    #[test]
    fn a_device_is_found_by_name_and_by_uuid_and_neither_is_given_twice() {
        let mut bdevs = bdevs();
        let uuid = bdevs.get("a").unwrap().uuid;
        assert_eq!(bdevs.resolve(&uuid.to_string()).unwrap(), "a");
        assert_eq!(bdevs.reserve(Some("b".into()), "", Some(uuid)).unwrap_err().code.0, -17);
        assert_eq!(bdevs.reserve(Some("a".into()), "", None).unwrap_err().code.0, -17);
        assert_eq!(bdevs.resolve("b").unwrap_err().code.0, -19);
        bdevs.take("a").unwrap();
        bdevs.release("a", uuid);
        assert!(bdevs.reserve(Some("a".into()), "", Some(uuid)).is_ok());
    }

    #[test]
    fn endpoints_of_a_tenant_share_its_reservations_and_nobody_elses() {
        let mut bdevs = bdevs();
        let device = bdevs.get_mut("a").unwrap();
        let [tenant, other] = ["t", "u"].map(|name| PrOwner::Tenant(name.into()));
        let unit = device.unit(Some(&tenant), UnitNames::default()).unwrap();
        let mut is_shared = |owner: Option<&PrOwner>| {
            Arc::ptr_eq(device.volume_for(owner).reservations(), unit.reservations())
        };
        assert!(is_shared(Some(&tenant)));
        assert!(!is_shared(Some(&other)));
        assert!(!is_shared(None));
    }

    #[test]
    fn names_that_are_not_given_are_the_first_free_ones() {
        let mut bdevs = Bdevs::default();
        let mut next = || bdevs.reserve(None, "Malloc", None).unwrap();
        assert_eq!(next().0, "Malloc0");
        assert_eq!(next().0, "Malloc1");
        let third = next();
        bdevs.release("Malloc1", third.1);
        assert_eq!(bdevs.reserve(None, "Malloc", None).unwrap().0, "Malloc1");
    }

    #[test]
    fn a_device_in_use_is_not_deleted_and_the_user_is_named() {
        let mut bdevs = bdevs();
        let user = User::Endpoint("vhost.0".into());
        bdevs.claim("a", user.clone()).unwrap();
        bdevs.claim("a", User::Endpoint("vhost.1".into())).unwrap();
        let error = bdevs.take("a").err().unwrap();
        assert_eq!(error.code.0, -16);
        assert!(error.message.contains("vhost controller vhost.0"), "{error}");
        assert_eq!(bdevs.claim("a", User::Split).err().unwrap().code.0, -16);
        bdevs.unclaim("a", &user);
        bdevs.unclaim("a", &User::Endpoint("vhost.1".into()));
        bdevs.claim("a", User::Split).unwrap();
        assert_eq!(bdevs.claim("a", user).err().unwrap().code.0, -16);
    }
}

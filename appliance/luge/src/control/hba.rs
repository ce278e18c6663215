//! A SCSI host bus adapter with its targets and LUNs, as the control thread knows them.
//!
//! ```text
//!   absent --(1)--> coming --(2)--> here --(4)--> leaving --(5)--> absent
//!                     \---(3)--> absent
//! ```
//! 1. `begin_add`; 2. `end_add`; 3. `forget`, it could not be added; 4. `begin_removal`; 5. `forget`.
//!
//! Invariants
//! - From (1) to (3) or (5) nobody else gets the number.
//! - A block device has one LUN at most on an adapter: its initiator has one nexus to each volume.
//!
//! Not here: the life of a LUN in the guest's eyes, its requests and events (`luge_vhost`).

use super::pr_scope::PrOwner;
use luge_rpc::RpcError;
use luge_scsi::LogicalUnit;
use luge_vhost::{LunAddress, ScsiHba};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A SCSI host bus adapter.
pub struct Hba {
    /// The virtio device.
    pub device: Arc<ScsiHba>,
    /// Number of queues for requests.
    pub request_queues: u16,
    /// Owner of the reservations of its LUNs; none where they are those of all users of a volume.
    pub pr_owner: Option<PrOwner>,
    luns: BTreeMap<LunAddress, Lun>,
    /// Address of the LUN of each block device that has one.
    addresses: BTreeMap<String, LunAddress>,
    /// Identifiers of its targets in the list of all SCSI devices.
    ids: BTreeMap<u8, u32>,
}

/// A LUN.
pub struct Lun {
    /// Name of its block device.
    pub bdev: String,
    /// Logical unit.
    pub unit: Arc<LogicalUnit>,
    /// State.
    pub presence: LunPresence,
}

/// State of a LUN in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LunPresence {
    /// A LUN that a call is adding.
    Coming,
    /// A LUN that is there.
    Here,
    /// A LUN that a call is removing.
    Leaving,
}

/// Target that a LUN is to be added to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WantedTarget {
    /// The first one that has no LUN.
    Free,
    /// The one of this number.
    Number(u8),
}

impl Hba {
    /// An adapter without LUNs.
    #[must_use]
    pub fn new(device: Arc<ScsiHba>, request_queues: u16, pr_owner: Option<PrOwner>) -> Self {
        let (luns, addresses, ids) = Default::default();
        Self { device, request_queues, pr_owner, luns, addresses, ids }
    }

    /// Place for a LUN of a block device.
    ///
    /// # Errors
    /// -17 if the place is taken, or the block device has a LUN; -28 if no target is free.
    pub fn place(&self, wanted: WantedTarget, lun: u8, bdev: &str) -> Result<LunAddress, RpcError> {
        if let Some(at) = self.addresses.get(bdev) {
            return Err(RpcError::exists(format_args!(
                "bdev {bdev} is {at} of this controller already: one is enough, and another controller makes a second path"
            )));
        }
        let target = match wanted {
            WantedTarget::Number(target) => target,
            WantedTarget::Free => self.free_target().ok_or_else(|| {
                RpcError::errno(
                    Errno::NOSPC,
                    "all 256 targets of this controller have LUNs: remove one, or make another controller",
                )
            })?,
        };
        let address = LunAddress { target, lun };
        match self.luns.get(&address) {
            None => Ok(address),
            Some(lun) => Err(RpcError::exists(format_args!(
                "{address} is bdev {} already: remove it first, or choose another number",
                lun.bdev
            ))),
        }
    }

    fn free_target(&self) -> Option<u8> {
        (0..=u8::MAX).find(|target| !self.ids.contains_key(target))
    }

    /// Begins to add a LUN: (1). `id` is the identifier of the target if it is a new one.
    pub fn begin_add(&mut self, address: LunAddress, bdev: &str, unit: Arc<LogicalUnit>, id: u32) {
        let lun = Lun { bdev: bdev.into(), unit, presence: LunPresence::Coming };
        self.luns.insert(address, lun);
        self.addresses.insert(bdev.into(), address);
        self.ids.entry(address.target).or_insert(id);
    }

    /// Ends the addition of a LUN: (2).
    pub fn end_add(&mut self, address: LunAddress) {
        if let Some(lun) = self.luns.get_mut(&address) {
            lun.presence = LunPresence::Here;
        }
    }

    /// Begins to remove a LUN: (4).
    ///
    /// # Errors
    /// -19 if there is no such LUN, -16 if it is being added or removed.
    pub fn begin_removal(&mut self, address: LunAddress) -> Result<(), RpcError> {
        self.check_here(address)?;
        if let Some(lun) = self.luns.get_mut(&address) {
            lun.presence = LunPresence::Leaving;
        }
        Ok(())
    }

    /// Whether a LUN could be removed.
    ///
    /// # Errors
    /// As [`Self::begin_removal`].
    pub fn check_here(&self, address: LunAddress) -> Result<(), RpcError> {
        match self.luns.get(&address).map(|lun| lun.presence) {
            Some(LunPresence::Here) => Ok(()),
            Some(LunPresence::Coming) => {
                Err(RpcError::busy(format_args!("{address} is being added: try again")))
            }
            Some(LunPresence::Leaving) => {
                Err(RpcError::busy(format_args!("{address} is being removed already: wait for that")))
            }
            None => Err(RpcError::no_device(format_args!(
                "the controller has no {address}: vhost_get_controllers lists those there are"
            ))),
        }
    }

    /// Forgets a LUN: (3) or (5). Returns the name of its block device.
    pub fn forget(&mut self, address: LunAddress) -> Option<String> {
        let lun = self.luns.remove(&address)?;
        self.addresses.remove(&lun.bdev);
        if self.luns_of(address.target).next().is_none() {
            self.ids.remove(&address.target);
        }
        Some(lun.bdev)
    }

    /// LUNs, in the order of their addresses.
    pub fn luns(&self) -> impl Iterator<Item = (LunAddress, &Lun)> {
        self.luns.iter().map(|(address, lun)| (*address, lun))
    }

    /// LUN of a block device, if it has one.
    #[must_use]
    pub fn lun_of(&self, bdev: &str) -> Option<(LunAddress, &Lun)> {
        let &address = self.addresses.get(bdev)?;
        Some((address, self.luns.get(&address)?))
    }

    /// LUNs of a target, in the order of their numbers.
    pub fn luns_of(&self, target: u8) -> impl Iterator<Item = (LunAddress, &Lun)> {
        let of_target = LunAddress { target, lun: 0 }..=LunAddress { target, lun: u8::MAX };
        self.luns.range(of_target).map(|(address, lun)| (*address, lun))
    }

    /// Numbers of the targets that have LUNs, each with its identifier.
    pub fn targets(&self) -> impl Iterator<Item = (u8, u32)> {
        self.ids.iter().map(|(target, id)| (*target, *id))
    }

    /// Whether no call adds or removes a LUN.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.luns.values().all(|lun| lun.presence == LunPresence::Here)
    }
}

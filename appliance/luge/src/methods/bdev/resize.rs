//! `bdev_null_resize`, `bdev_malloc_resize`, `bdev_aio_rescan`, and `bdev_get_resize_status`: the size of a device.
//!
//! ```text
//!   1 the device gets the size    2 each core serves it    3 its endpoints tell their front ends
//! ```
//!
//! Invariants
//! - A device that somebody uses does not become smaller.
//! - Front ends are told after all cores serve the size. Nobody waits for a front end.
//! - One device is resized by one call at a time, and is neither claimed nor deleted meanwhile.

use super::resize_status;
use crate::control::{Control, Sled, Source, Subsystem};
use crate::methods::definition::method;
use luge_block::{Blocks, Device, ResizeError};
use luge_nvme_target::NamespaceId;
use luge_rpc::{Method, RpcError, params};
use luge_scsi::LogicalUnit;
use luge_vhost::{BlkDevice, ConfigNotices, ScsiHba};
use std::sync::Arc;

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

params! {
    /// Parameters of `bdev_null_resize` and `bdev_malloc_resize`.
    struct Resize {
        /// Name or UUID of the bdev
        name: String,
        /// Size that it is to have, in MiB
        new_size: u64,
    }
}

params! {
    /// Parameters of `bdev_aio_rescan`.
    struct Rescan {
        /// Name or UUID of the bdev
        name: String,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        method(control, "bdev_null_resize", "Make a null device larger", |control, params: Resize| {
            resize(control, params.name, Wanted::Null(params.new_size))
        }),
        method(control, "bdev_malloc_resize", "Resize a device in memory", |control, params: Resize| {
            resize(control, params.name, Wanted::Malloc(params.new_size))
        }),
        method(
            control,
            "bdev_aio_rescan",
            "Take over the size that a file has now",
            |control, params: Rescan| resize(control, params.name, Wanted::Actual),
        ),
        resize_status::method(control),
    ]
}

/// Size that a caller asks for.
#[derive(Clone, Copy)]
enum Wanted {
    /// Null device: size in MiB.
    Null(u64),
    /// Memory device: size in MiB.
    Malloc(u64),
    /// File: the size that it has.
    Actual,
}

impl Wanted {
    const fn method(self) -> &'static str {
        match self {
            Self::Null(_) => "bdev_null_resize",
            Self::Malloc(_) => "bdev_malloc_resize",
            Self::Actual => "bdev_aio_rescan",
        }
    }

    /// Number of blocks that the device is to have.
    fn blocks(self, name: &str, device: &dyn Device) -> Result<Blocks, RpcError> {
        match self {
            Self::Null(mib) | Self::Malloc(mib) => {
                let blocks =
                    mib.checked_mul(MIB).map(|bytes| bytes / u64::from(device.geometry().block_bytes));
                blocks.filter(|&blocks| blocks > 0).map(Blocks).ok_or_else(|| impossible(mib))
            }
            Self::Actual => device.actual_blocks().map_err(|error| refusal(name, &error)),
        }
    }
}

fn impossible(mib: u64) -> RpcError {
    RpcError::invalid_params(format_args!("parameter `new_size`: a device of {mib} MiB is not possible"))
}

/// A device that this call alone may resize.
struct Claim {
    name: String,
    device: Arc<dyn Device>,
    /// Number of blocks so far.
    blocks: Blocks,
    /// A user, if there is one.
    user: Option<String>,
    /// Bytes of the budget that the device has.
    bytes: u64,
}

/// Resizes a device. Its memory is made on this thread, as that may take long.
fn resize(control: &Arc<Control>, name: String, wanted: Wanted) -> Result<bool, RpcError> {
    let claim = control.ask(move |sled| begin(sled, &name, wanted))?;
    let Claim { name, device, .. } = &claim;
    let resized = name.clone();
    let undo = control.undo(move |sled| sled.bdevs.end_change(&resized));
    let blocks = wanted.blocks(name, &**device)?;
    check_smaller(&claim, blocks, wanted)?;
    let more = bytes(control, &claim, blocks).saturating_sub(claim.bytes);
    let asked = name.clone();
    control.ask(move |sled| sled.budget.take(&asked, more))?;
    let give_back = control.undo(move |sled| sled.budget.give_back(more));
    device.resize(blocks).map_err(|error| refusal(name, &error))?;
    control.platform().cores.iter().for_each(|core| core.resize(device));
    let (resized, bytes) = (name.clone(), bytes(control, &claim, blocks));
    let users = control.ask(move |sled| finish(sled, &resized, blocks, bytes))?;
    give_back.disarm();
    undo.disarm();
    tell_units(&users);
    users.iter().for_each(Told::tell);
    Ok(true)
}

fn begin(sled: &mut Sled, name: &str, wanted: Wanted) -> Result<Claim, RpcError> {
    let name = sled.bdevs.resolve(name)?;
    let bdev = sled.bdevs.get(&name)?;
    check_kind(&name, &bdev.source, wanted)?;
    let luge_volume::Source::Device(device) = bdev.volume.source().clone() else {
        return Err(RpcError::internal(format_args!("bdev {name} is no device")));
    };
    let user = bdev.users.first().map(ToString::to_string);
    let bytes = if let Source::Malloc { bytes } = bdev.source { bytes } else { 0 };
    sled.bdevs.begin_resize(&name)?;
    Ok(Claim { name, blocks: device.geometry().blocks, device, user, bytes })
}

/// Checks that the method is the one of the device's kind.
fn check_kind(name: &str, source: &Source, wanted: Wanted) -> Result<(), RpcError> {
    match source.resizer() {
        Some(method) if method == wanted.method() => Ok(()),
        Some(method) => {
            Err(RpcError::invalid(format_args!("bdev {name} is a {}: use {method}", source.product())))
        }
        None => {
            let product = source.product();
            Err(RpcError::invalid(format_args!("bdev {name} is a {product}, which cannot be resized")))
        }
    }
}

/// Checks that a device does not become smaller that must not.
fn check_smaller(claim: &Claim, blocks: Blocks, wanted: Wanted) -> Result<(), RpcError> {
    let Claim { name, user, blocks: have, .. } = claim;
    if blocks >= *have {
        return Ok(());
    }
    if let Wanted::Null(_) = wanted {
        return Err(RpcError::invalid(format_args!(
            "bdev {name} has {have} blocks, and a null device does not become smaller: delete it, and make another"
        )));
    }
    match user {
        None => Ok(()),
        Some(user) => Err(RpcError::busy(format_args!(
            "bdev {name} would lose {} of its {have} blocks, and is in use by {user}: end that first",
            have.0 - blocks.0
        ))),
    }
}

/// Bytes of the budget that a device of so many blocks needs.
fn bytes(control: &Control, claim: &Claim, blocks: Blocks) -> u64 {
    if claim.bytes == 0 {
        return 0;
    }
    let block_bytes = u64::from(claim.device.geometry().block_bytes);
    blocks.0.saturating_mul(block_bytes).next_multiple_of(control.platform().pages.bytes())
}

/// User of a device that has to tell its front ends.
enum Told {
    /// A vhost controller.
    Disk { disk: Arc<BlkDevice>, notices: ConfigNotices },
    /// A LUN.
    Lun { hba: Arc<ScsiHba>, unit: Arc<LogicalUnit> },
    /// A namespace.
    Namespace { subsystem: Arc<luge_nvme_target::Subsystem>, id: NamespaceId },
}

impl Told {
    fn tell(&self) {
        match self {
            Self::Disk { disk, notices } => {
                if disk.resize() {
                    notices.changed();
                }
            }
            Self::Lun { hba, unit } => hba.resized(unit),
            // It fails if the namespace is gone by now.
            Self::Namespace { subsystem, id } => drop(subsystem.resized(*id)),
        }
    }
}

/// Tells each logical unit once, however many controllers serve it.
fn tell_units(users: &[Told]) {
    let mut told: Vec<&Arc<LogicalUnit>> = Vec::new();
    for user in users {
        if let Told::Lun { unit, .. } = user
            && !told.iter().any(|other| Arc::ptr_eq(other, unit))
        {
            unit.resized();
            told.push(unit);
        }
    }
}

/// Notes the size of a device that all cores serve by now; returns its users.
fn finish(sled: &mut Sled, name: &str, blocks: Blocks, bytes: u64) -> Result<Vec<Told>, RpcError> {
    sled.bdevs.end_change(name);
    if let Source::Malloc { bytes: before } = &mut sled.bdevs.get_mut(name)?.source {
        sled.budget.give_back(before.saturating_sub(bytes));
        *before = bytes;
    }
    sled.record.change(Subsystem::Bdev, name, |params| {
        if let Some(num_blocks) = params.get_mut("num_blocks") {
            *num_blocks = blocks.0.into();
        }
    });
    Ok(disks(sled, name).chain(luns(sled, name)).chain(namespaces(sled, name)).collect())
}

fn disks<'a>(sled: &'a Sled, bdev: &'a str) -> impl Iterator<Item = Told> + 'a {
    sled.endpoints.iter().filter_map(move |(_, endpoint)| {
        let (disk, server) = endpoint.disk_of(bdev)?;
        let disk = disk.device.clone();
        Some(Told::Disk { disk, notices: server.notices() })
    })
}

fn luns<'a>(sled: &'a Sled, bdev: &'a str) -> impl Iterator<Item = Told> + 'a {
    sled.endpoints.iter().filter_map(move |(_, endpoint)| {
        let hba = endpoint.hba()?;
        let (_, lun) = hba.lun_of(bdev)?;
        Some(Told::Lun { hba: hba.device.clone(), unit: lun.unit.clone() })
    })
}

fn namespaces<'a>(sled: &'a Sled, bdev: &'a str) -> impl Iterator<Item = Told> + 'a {
    sled.nvmf
        .namespaces_of(bdev)
        .map(|(_, subsystem, id)| Told::Namespace { subsystem: subsystem.clone(), id })
}

fn refusal(name: &str, error: &ResizeError) -> RpcError {
    let message = format_args!("bdev {name}: {error}");
    match error {
        ResizeError::Fixed => RpcError::unsupported(message),
        ResizeError::Shape(_) => RpcError::invalid_params(message),
        ResizeError::Memory(_) => RpcError::no_memory(message),
        ResizeError::File(error) => super::aio::refusal(error),
        ResizeError::NotActual { .. } => RpcError::busy(message),
    }
}

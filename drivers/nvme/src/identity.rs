//! Identity and limits of a controller, from its Identify pages.
//!
//! Path: none; bring-up, and after each reset to see that it is still the same SSD.
//!
//! Invariants
//! - Nothing a controller says of itself is used unchecked: text is made printable, lists are
//!   bounded, sizes are narrowed to what the driver can do.

use crate::ErrorKind;
use crate::admin::Admin;
use crate::atomicity::AtomicSizes;
use crate::link::QueueId;
use crate::quirks::Quirk;
use luge_spec::nvme::{
    Cns, CommandSetCombinations, IdentifyController, IdentifyNvmController, Version, oncs,
};
use std::time::Duration;

/// The largest transfer in bytes: as much as PRP1 and one page of a PRP list describe at any alignment.
const TRANSFER_BYTES_MAX: u32 = 2 << 20;

/// Identity of a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PCI vendor.
    pub vendor: u16,
    /// PCI subsystem vendor.
    pub subsystem_vendor: u16,
    /// Serial number.
    pub serial: String,
    /// Model.
    pub model: String,
    /// Firmware revision.
    pub firmware: String,
    /// Vendor's OUI, most significant byte first.
    pub oui: [u8; 3],
    /// CNTLID.
    pub controller_id: u16,
    /// NQN of the subsystem; empty where it has none.
    pub subsystem_name: String,
    /// Version of the specification that it follows.
    pub version: Version,
    /// OACS: optional admin commands, as on the wire.
    pub oacs: u16,
    /// ONCS: optional I/O commands, as on the wire.
    pub oncs: u16,
    /// The largest transfer in bytes that Luge uses.
    pub transfer_bytes_max: u32,
    /// Whether there is a volatile write cache.
    pub volatile_write_cache: bool,
    /// The largest namespace identifier.
    pub namespaces_max: u32,
    /// Whether other controllers may reach the same namespaces.
    pub multi_path: bool,
}

/// Limits of a controller's commands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub transfer_bytes: u32,
    pub write_zeroes_bytes: Option<u64>,
    pub verify_bytes: Option<u64>,
    pub write_uncorrectable_bytes: Option<u64>,
    pub discard_blocks: Option<u32>,
    pub atomic: AtomicSizes,
    pub volatile_cache: bool,
    pub oncs: u16,
    pub identifiers: Identifiers,
}

/// Whether NGUID and EUI64 identify a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Identifiers {
    Unique,
    /// Several SSDs of the model have equal ones.
    Shared,
}

/// Command sets that namespaces may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CommandSets {
    /// Only NVM.
    Nvm,
    /// NVM and others: each namespace has to be asked for its own.
    Several,
}

/// Answers of a controller at bring-up, but for its namespaces.
pub(crate) struct Discovery {
    pub identity: Identity,
    pub limits: Limits,
    pub command_sets: CommandSets,
    pub queue_pairs: u16,
    pub shutdown_timeout: Duration,
}

impl Discovery {
    /// Identifies an enabled controller, and sets it up for I/O queues and events.
    pub(crate) fn run(admin: &mut Admin, queue_pairs: u16) -> Result<Self, ErrorKind> {
        let page: IdentifyController = admin.identify(Cns::CONTROLLER, 0)?;
        let version = admin.registers().version();
        let limits = Limits::read(admin, &page, version)?;
        let command_sets = CommandSets::choose(admin)?;
        let queue_pairs = admin.set_queue_pairs(queue_pairs)?;
        admin.events.set_limit_z(page.event_limit_z);
        if let Err(error) = admin.request_events(page.async_events) {
            tracing::warn!(controller = admin.registers().name(), %error, "the SSD did not take the choice of events: it reports those of its own choice");
        }
        admin.arm_events();
        Ok(Self {
            identity: Identity::new(&page, version, &limits),
            limits,
            command_sets,
            queue_pairs,
            shutdown_timeout: shutdown_timeout(&page),
        })
    }

    /// Difference from `before` because of which the SSD cannot go on after a reset; none where it can.
    pub(crate) fn differs_from(&self, before: &Self, last_queue: QueueId) -> Option<&'static str> {
        let (now, then) = (&self.identity, &before.identity);
        if (&now.serial, &now.model, now.vendor) != (&then.serial, &then.model, then.vendor) {
            return Some("its serial number or model is another");
        }
        if now.transfer_bytes_max < then.transfer_bytes_max {
            return Some("it takes smaller transfers than before");
        }
        if !self.limits.atomic.covers(before.limits.atomic) {
            return Some("its atomic writes are smaller than before");
        }
        (self.queue_pairs < last_queue.0).then_some("it gives fewer queues than before")
    }
}

impl Identity {
    fn new(page: &IdentifyController, version: Version, limits: &Limits) -> Self {
        let [low, middle, high] = page.oui;
        Self {
            vendor: page.vendor,
            subsystem_vendor: page.subsystem_vendor,
            serial: text(&page.serial),
            model: text(&page.model),
            firmware: text(&page.firmware),
            oui: [high, middle, low],
            controller_id: page.controller_id,
            subsystem_name: text(&page.subsystem_name),
            version,
            oacs: page.oacs,
            oncs: page.oncs,
            transfer_bytes_max: limits.transfer_bytes,
            volatile_write_cache: limits.volatile_cache,
            namespaces_max: page.namespaces_max,
            multi_path: page.multi_path & 2 != 0,
        }
    }
}

impl Limits {
    fn read(admin: &mut Admin, page: &IdentifyController, version: Version) -> Result<Self, ErrorKind> {
        let quirks = admin.registers().quirks();
        // Version 2.0 added the page of the command set; before, MDTS limited all commands.
        let told = version >= Version::V2_0 && !quirks.has(Quirk::BasicIdentify);
        let nvm: Option<IdentifyNvmController> =
            if told { refused_is_none(admin.identify(Cns::COMMAND_SET_CONTROLLER, 0))? } else { None };
        let transfer = power_of_two_pages(page.transfer_max);
        let limit = |of: fn(&IdentifyNvmController) -> u8| {
            nvm.as_ref().map_or(transfer, |nvm| power_of_two_pages(of(nvm)))
        };
        let unsent = if quirks.has(Quirk::NoWriteZeroes) { oncs::WRITE_ZEROES } else { 0 };
        Ok(Self {
            transfer_bytes: transfer
                .and_then(|bytes| u32::try_from(bytes).ok())
                .unwrap_or(u32::MAX)
                .min(TRANSFER_BYTES_MAX),
            write_zeroes_bytes: limit(|nvm| nvm.write_zeroes_max),
            verify_bytes: limit(|nvm| nvm.verify_max),
            write_uncorrectable_bytes: limit(|nvm| nvm.write_uncorrectable_max),
            discard_blocks: nvm.as_ref().map(|nvm| nvm.dataset_range_blocks_max).filter(|&blocks| blocks > 0),
            atomic: AtomicSizes::new(page),
            volatile_cache: page.volatile_write_cache & 1 == 1,
            oncs: page.oncs & !unsent,
            identifiers: match quirks.has(Quirk::SharedIdentifiers) {
                true => Identifiers::Shared,
                false => Identifiers::Unique,
            },
        })
    }
}

impl CommandSets {
    /// Chooses the first combination of command sets that has NVM.
    fn choose(admin: &mut Admin) -> Result<Self, ErrorKind> {
        let registers = admin.registers();
        if !registers.has_several_command_sets() || registers.quirks().has(Quirk::BasicIdentify) {
            return Ok(Self::Nvm);
        }
        let Some(CommandSetCombinations(list)) = refused_is_none(admin.command_set_combinations())? else {
            let controller = admin.registers().name();
            tracing::warn!(controller, "the SSD does not tell its I/O command sets: each namespace is asked");
            return Ok(Self::Several);
        };
        let nvm = (0u32..).zip(list).find(|(_, sets)| sets & 1 == 1);
        let (index, sets) = nvm.ok_or(ErrorKind::NoNvmCommands)?;
        if let Err(error) = admin.choose_command_sets(index) {
            tracing::warn!(controller = admin.registers().name(), %error, "the SSD did not take the choice of command sets: it offers those of its own choice");
            return Ok(Self::Several);
        }
        Ok(if sets == 1 { Self::Nvm } else { Self::Several })
    }
}

/// Answer to a command; none where the controller refused the command.
pub(crate) fn refused_is_none<T>(answer: Result<T, ErrorKind>) -> Result<Option<T>, ErrorKind> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(ErrorKind::Command { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Limit in bytes, from a power of two of 4 KiB (CAP.MPSMIN, checked before); none for zero, which means no limit.
fn power_of_two_pages(exponent: u8) -> Option<u64> {
    (exponent != 0).then(|| 4096u64.checked_shl(u32::from(exponent.min(48))).unwrap_or(u64::MAX))
}

/// Time limit of a shutdown: RTD3E, but at least 10 seconds and at most 60.
fn shutdown_timeout(page: &IdentifyController) -> Duration {
    Duration::from_micros(page.shutdown_latency_us.into())
        .clamp(Duration::from_secs(10), Duration::from_secs(60))
}

/// Text of an Identify page without padding. Bytes that are not printable ASCII become question marks, since a
/// terminal might obey them.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let printable = |&byte: &u8| if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '?' };
    let text: String = bytes.iter().take(end).map(printable).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_printable_whatever_the_controller_says() {
        assert_eq!(text(b"  abc 1  "), "abc 1");
        assert_eq!(text(b"a\x1b[2Jb\0secret"), "a?[2Jb");
        assert_eq!(text(&[0; 20]), "");
    }

    #[test]
    fn a_limit_of_zero_is_none_and_an_absurd_one_does_not_overflow() {
        assert_eq!(power_of_two_pages(0), None);
        assert_eq!(power_of_two_pages(1), Some(8192));
        assert_eq!(power_of_two_pages(255), Some(4096 << 48));
    }
}

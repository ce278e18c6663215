//! Identify Controller. Base 2.0, figure 275.

use super::text::pad;
use crate::controller::{
    ABORTS_MAX_Z, Controller, ERROR_LOG_ENTRIES, EVENT_REQUESTS_MAX_Z, FIRMWARE, KEEP_ALIVE_UNIT_100MS,
    TEMPERATURE_CRITICAL_K, TEMPERATURE_WARNING_K,
};
use crate::pci_ids::{SUBSYSTEM_VENDOR, VENDOR};
use luge_block::Geometry;
use luge_spec::nvme::{IdentifyController, IdentifyNvmController, Version, event_config, oacs, oncs};
use zerocopy::FromZeros;

/// CMIC: several controllers may belong to the subsystem.
const SEVERAL_CONTROLLERS: u8 = 1 << 1;

/// CTRATT: host identifiers may have 128 bits.
const LONG_HOST_IDS: u32 = 1 << 0;

/// CNTRLTYPE: an I/O controller.
const IO_CONTROLLER: u8 = 1;

/// FRMW: one slot, which cannot be written.
const ONE_READ_ONLY_SLOT: u8 = 1 << 1 | 1;

/// LPA: SMART log of each namespace, effects log, offsets and lengths of 32 bits.
const LOG_ATTRIBUTES: u8 = 1 << 0 | 1 << 1 | 1 << 2;

/// SQES and CQES: 64 and 16 bytes, and no others.
const SUBMISSION_ENTRY_SIZE: u8 = 0x66;
const COMPLETION_ENTRY_SIZE: u8 = 0x44;

/// FNA: Format NVM is for one namespace.
const NO_FORMAT_OF_ALL: u8 = 1 << 3;

/// VWC: there is a cache, and a flush of all namespaces is supported.
const CACHE_PRESENT: u8 = 1 << 0;
const FLUSH_OF_ALL: u8 = 3 << 1;

/// FUSES: Compare and Write.
const COMPARE_AND_WRITE: u16 = 1 << 0;

/// OCFS: descriptors of format 0.
const COPY_FORMAT_0: u16 = 1 << 0;

/// SGLS: SGLs of any alignment, with bit buckets.
const SGL_SUPPORT: u32 = 1 << 0 | 1 << 16;

/// The page of a controller.
pub(super) fn controller_page(controller: &Controller) -> IdentifyController {
    let (subsystem, config) = (&controller.parts.subsystem, &controller.parts.config);
    let mut page = IdentifyController::new_zeroed();
    page.vendor = VENDOR;
    page.subsystem_vendor = SUBSYSTEM_VENDOR;
    pad(&mut page.serial, subsystem.serial());
    pad(&mut page.model, subsystem.model());
    pad(&mut page.firmware, FIRMWARE);
    page.multi_path = SEVERAL_CONTROLLERS;
    page.transfer_max = config.transfer_pages_shift();
    page.controller_id = controller.id();
    page.version = Version::V2_0.0;
    page.async_events = event_config::NAMESPACES_CHANGED;
    page.attributes = LONG_HOST_IDS;
    page.controller_type = IO_CONTROLLER;
    page.oacs = oacs::FORMAT | if config.shadow_doorbells { oacs::DOORBELL_BUFFER } else { 0 };
    page.abort_limit_z = ABORTS_MAX_Z;
    page.event_limit_z = EVENT_REQUESTS_MAX_Z;
    page.firmware_updates = ONE_READ_ONLY_SLOT;
    page.log_attributes = LOG_ATTRIBUTES;
    page.error_log_entries_z = ERROR_LOG_ENTRIES.saturating_sub(1);
    page.warning_temperature = TEMPERATURE_WARNING_K;
    page.critical_temperature = TEMPERATURE_CRITICAL_K;
    page.keep_alive_100ms = KEEP_ALIVE_UNIT_100MS;
    page.submission_entry_size = SUBMISSION_ENTRY_SIZE;
    page.completion_entry_size = COMPLETION_ENTRY_SIZE;
    page.namespaces_max = subsystem.namespaces_max();
    page.format_attributes = NO_FORMAT_OF_ALL;
    page.sgl_support = SGL_SUPPORT;
    let name = page.subsystem_name.iter_mut();
    name.zip(subsystem.nqn().as_str().bytes()).for_each(|(to, from)| *to = from);
    let geometries: Vec<Geometry> =
        controller.namespaces().values().map(|served| config.offered(served.geometry())).collect();
    set_abilities(&mut page, &geometries);
    page.oncs &= !config.masked.oncs;
    page
}

/// Sets what depends on the volumes: what one of them can, and sizes that hold for all.
fn set_abilities(page: &mut IdentifyController, geometries: &[Geometry]) {
    let has = |ability: fn(&Geometry) -> u32| geometries.iter().any(|geometry| ability(geometry) > 0);
    let least = |size: fn(&Geometry) -> u32| {
        let least = geometries.iter().map(size).min().unwrap_or(0);
        u16::try_from(least.saturating_sub(1)).unwrap_or(u16::MAX)
    };
    let bits = [
        (has(|geometry| geometry.operations.compare_blocks_max), oncs::COMPARE),
        (has(|geometry| geometry.operations.write_uncorrectable_blocks_max), oncs::WRITE_UNCORRECTABLE),
        (has(|geometry| geometry.discard_blocks_max), oncs::DATASET_MANAGEMENT),
        (has(|geometry| geometry.write_zeroes_blocks_max), oncs::WRITE_ZEROES),
        (has(|geometry| geometry.operations.verify_blocks_max), oncs::VERIFY),
        (has(|geometry| geometry.operations.copy.ranges_max.into()), oncs::COPY),
    ];
    let supported = bits.into_iter().filter(|(is_supported, _)| *is_supported);
    page.oncs = supported
        .fold(oncs::SAVE_AND_SELECT | oncs::TIMESTAMP | oncs::RESERVATIONS, |all, (_, bit)| all | bit);
    let has_compare_and_write = has(|geometry| geometry.operations.compare_and_write_blocks_max);
    page.fused = if has_compare_and_write { COMPARE_AND_WRITE } else { 0 };
    page.copy_formats = if page.oncs & oncs::COPY != 0 { COPY_FORMAT_0 } else { 0 };
    page.atomic_normal_z = least(|geometry| geometry.atomic_blocks);
    page.atomic_power_fail_z = page.atomic_normal_z;
    page.atomic_compare_z = least(|geometry| geometry.operations.compare_and_write_blocks_max);
    let has_cache = geometries.iter().any(|geometry| geometry.volatile_cache);
    page.volatile_write_cache = FLUSH_OF_ALL | if has_cache { CACHE_PRESENT } else { 0 };
}

/// The page of a controller for the NVM command set: no limits but those of MDTS.
pub(super) fn nvm_controller_page() -> IdentifyNvmController {
    IdentifyNvmController::new_zeroed()
}

impl Controller {
    /// Whether a namespace has a volatile write cache.
    pub(in crate::admin) fn has_write_cache(&self) -> bool {
        self.namespaces().values().any(|served| served.geometry().volatile_cache)
    }
}

//! Identify Namespace and the descriptors of its identifiers. NVM 1.0, figure 97; Base 2.0, figures 277 and 280.

use crate::controller::ControllerConfig;
use crate::subsystem::ServedNamespace;
use luge_block::Geometry;
use luge_spec::nvme::{
    IdentifyNamespace, IndependentNamespace, LbaFormat, NamespaceDescriptors, oncs, reservation_abilities,
};
use zerocopy::FromZeros;

/// NSFEAT: the namespace's own atomic sizes are valid.
const OWN_ATOMICITY: u8 = 1 << 1;

/// NSFEAT: the preferred sizes are valid.
const PREFERRED_SIZES: u8 = 1 << 4;

/// NMIC: several controllers may access the namespace.
const SHARED: u8 = 1 << 0;

/// RESCAP: all types of reservation, which do not persist through a loss of power.
const RESERVATIONS: u8 = reservation_abilities::ALL_TYPES | reservation_abilities::IGNORE_KEY;

/// NSATTR: the namespace is write protected.
const WRITE_PROTECTED: u8 = 1 << 0;

/// NSTAT: the namespace is ready.
const READY: u8 = 1 << 0;

/// CSI of the NVM command set.
const NVM: u8 = 0;

/// The page of a namespace.
pub(super) fn namespace_page(served: &ServedNamespace, config: &ControllerConfig) -> IdentifyNamespace {
    let geometry = config.offered(served.geometry());
    let mut page = IdentifyNamespace::new_zeroed();
    page.size_blocks = geometry.blocks.0;
    page.capacity_blocks = geometry.blocks.0;
    page.used_blocks = geometry.blocks.0;
    page.capacity_bytes = [geometry.bytes(), 0];
    page.sharing = SHARED;
    page.reservations = reservations(config);
    page.attributes = attributes(&geometry);
    page.nguid = served.identity.nguid;
    page.eui64 = served.identity.eui64;
    let [format, ..] = &mut page.formats;
    let block_shift = u8::try_from(geometry.block_bytes.trailing_zeros()).unwrap_or(0);
    *format = LbaFormat { block_shift, ..LbaFormat::default() };
    set_sizes(&mut page, &geometry);
    page
}

/// Sets atomic and preferred sizes, and limits of copies.
fn set_sizes(page: &mut IdentifyNamespace, geometry: &Geometry) {
    page.features = OWN_ATOMICITY;
    page.atomic_normal_z = zero_based(geometry.atomic_blocks);
    page.atomic_power_fail_z = page.atomic_normal_z;
    page.atomic_compare_z = zero_based(geometry.operations.compare_and_write_blocks_max);
    if geometry.optimal_blocks > 1 {
        let optimal_z = zero_based(geometry.optimal_blocks);
        page.features |= PREFERRED_SIZES;
        page.write_granularity_z = optimal_z;
        page.write_alignment_z = optimal_z;
        page.deallocate_granularity_z = optimal_z;
        page.deallocate_alignment_z = optimal_z;
    }
    let copy = &geometry.operations.copy;
    page.copy_range_blocks_max = u16::try_from(copy.range_blocks_max).unwrap_or(u16::MAX);
    page.copy_blocks_max = copy.blocks_max;
    page.copy_ranges_max_z = u8::try_from(copy.ranges_max.saturating_sub(1)).unwrap_or(u8::MAX);
}

fn zero_based(blocks: u32) -> u16 {
    u16::try_from(blocks.saturating_sub(1)).unwrap_or(u16::MAX)
}

fn reservations(config: &ControllerConfig) -> u8 {
    if config.masked.has(oncs::RESERVATIONS) { 0 } else { RESERVATIONS }
}

fn attributes(geometry: &Geometry) -> u8 {
    if geometry.read_only { WRITE_PROTECTED } else { 0 }
}

/// The page of a namespace for all command sets.
pub(super) fn independent_page(served: &ServedNamespace, config: &ControllerConfig) -> IndependentNamespace {
    let mut page = IndependentNamespace::new_zeroed();
    page.sharing = SHARED;
    page.reservations = reservations(config);
    page.attributes = attributes(&served.geometry());
    page.status = READY;
    page
}

/// Descriptors of a namespace's identifiers, of those that it has, and of its command set.
pub(super) fn descriptors(served: &ServedNamespace) -> NamespaceDescriptors {
    let identity = &served.identity;
    let all: [(u8, &[u8]); 3] = [
        (NamespaceDescriptors::EUI64, &identity.eui64),
        (NamespaceDescriptors::NGUID, &identity.nguid),
        (NamespaceDescriptors::UUID, &identity.uuid),
    ];
    let has_value = |(_, value): &(u8, &[u8])| value.iter().any(|&byte| byte != 0);
    let mut bytes = Vec::new();
    let command_set: (u8, &[u8]) = (NamespaceDescriptors::COMMAND_SET, &[NVM]);
    for (kind, value) in all.into_iter().filter(has_value).chain([command_set]) {
        let len = u8::try_from(value.len()).unwrap_or(0);
        bytes.extend([kind, len, 0, 0]);
        bytes.extend_from_slice(value);
    }
    let mut list = NamespaceDescriptors([0; 4096]);
    list.0.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    list
}

//! READ CAPACITY and GET LBA STATUS: what the device server answers about blocks. SBC-3, clauses 5.4, 5.15 and 5.16.

use crate::cdb::Fields;
use crate::sense::Sense;
use crate::view::UnitView;
use luge_spec::scsi::{
    Capacity10, Capacity16, Cdb10, LbaStatusDescriptor, LbaStatusHeader, ProvisioningStatus, capacity_flags,
};
use zerocopy::{FromBytes, IntoBytes};

/// Parameter data of an answer, as long as the initiator has room for.
pub type CapacityBytes = heapless::Vec<u8, { size_of::<Capacity16>() }>;

/// PMI, in the byte behind the group number and the reserved one.
const PARTIAL_MEDIUM_INDICATOR: u16 = 1;

/// Answers READ CAPACITY (10). With a first block, it must have PMI, as SBC-2 says, where both are not obsolete.
///
/// # Errors
/// INVALID FIELD IN CDB.
pub fn read_capacity_10(cdb: &[u8], view: &UnitView) -> Result<CapacityBytes, Sense> {
    let (cdb, _) = Cdb10::read_from_prefix(cdb).map_err(|_| Sense::invalid_field_in_cdb(0))?;
    if cdb.length.get() & PARTIAL_MEDIUM_INDICATOR == 0 && cdb.lba.get() != 0 {
        return Err(Sense::invalid_field_in_cdb(2));
    }
    let last = u32::try_from(last_lba(view)).unwrap_or(u32::MAX);
    let data = Capacity10 { last_lba: last.into(), block_bytes: view.block_bytes.into() };
    Ok(cut(data.as_bytes(), u32::MAX))
}

/// Answers READ CAPACITY (16), at most as many bytes as the allocation length says.
///
/// # Errors
/// INVALID FIELD IN CDB.
pub fn read_capacity_16(cdb: &[u8], view: &UnitView) -> Result<CapacityBytes, Sense> {
    let fields = Fields::read(cdb).ok_or(Sense::invalid_field_in_cdb(0))?;
    let managed = if view.unmap_blocks_max > 0 { capacity_flags::PROVISIONING_MANAGED } else { 0 };
    let data = Capacity16 {
        last_lba: last_lba(view).into(),
        block_bytes: view.block_bytes.into(),
        provisioning: managed.into(),
        ..Capacity16::default()
    };
    Ok(cut(data.as_bytes(), fields.length))
}

/// Answers GET LBA STATUS, at most as many bytes as the allocation length says: nothing is known of blocks, so that all
/// from the first one on are mapped or unknown.
///
/// # Errors
/// INVALID FIELD IN CDB; LOGICAL BLOCK ADDRESS OUT OF RANGE where the first block is none of the unit.
pub fn get_lba_status(cdb: &[u8], view: &UnitView) -> Result<CapacityBytes, Sense> {
    let fields = Fields::read(cdb).ok_or(Sense::invalid_field_in_cdb(0))?;
    let left = view.blocks.0.checked_sub(fields.lba.0).filter(|&left| left > 0);
    let left = left.ok_or(Sense::lba_out_of_range(fields.lba.0))?;
    let header = LbaStatusHeader { data_bytes: 20.into(), ..LbaStatusHeader::default() };
    let descriptor = LbaStatusDescriptor {
        lba: fields.lba.0.into(),
        blocks: u32::try_from(left).unwrap_or(u32::MAX).into(),
        status: ProvisioningStatus::MAPPED,
        ..LbaStatusDescriptor::default()
    };
    let mut bytes = cut(header.as_bytes(), fields.length);
    let room = usize::try_from(fields.length).unwrap_or(usize::MAX).saturating_sub(bytes.len());
    // It fits.
    let _ = bytes.extend_from_slice(descriptor.as_bytes().get(..room).unwrap_or(descriptor.as_bytes()));
    Ok(bytes)
}

fn last_lba(view: &UnitView) -> u64 {
    view.blocks.0.saturating_sub(1)
}

/// The first bytes of data, as many as the allocation length says.
fn cut(data: &[u8], allocation_length: u32) -> CapacityBytes {
    let most = usize::try_from(allocation_length).unwrap_or(usize::MAX);
    data.iter().copied().take(most).collect()
}

//! Format of a namespace: whether Luge can use it, and the geometry that follows from it.
//!
//! Path: none; bring-up. Every request is checked against the [`Geometry`].

use crate::atomicity::atomic_blocks;
use crate::identity::{Identifiers, Limits};
use luge_block::{Blocks, Geometry, OperationLimits};
use luge_spec::nvme::{IdentifyNamespace, StatusCode, oncs};
use thiserror::Error;

/// Identifier of a namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct NamespaceId(pub u32);

impl std::fmt::Display for NamespaceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The most blocks of a namespace. The bits of a block number above these tell a channel the namespace.
pub(crate) const NAMESPACE_BLOCKS_MAX: u64 = 1 << 48;

/// The most spans that one read or write may have.
pub(crate) const SPANS_MAX: u16 = 256;

/// The most blocks that a command with a 16-bit zero-based count can have.
const COUNTED_BLOCKS_MAX: u32 = 1 << 16;

/// The most bytes of one discard, so that no SSD takes longer than the timeout for it.
const DISCARD_BYTES_MAX: u64 = 4 << 30;

/// A namespace that Luge does not use, or cannot use at present.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("namespace {id} is not used: {reason}")]
pub struct RefusedNamespace {
    /// Identifier.
    pub id: NamespaceId,
    /// Reason.
    pub reason: FormatError,
}

/// Reason for which a namespace cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FormatError {
    /// MS is not zero.
    #[error("its blocks carry {0} bytes of metadata; format it without (nvme format --lbaf)")]
    Metadata(u16),
    /// DPS is not zero.
    #[error("it has end-to-end protection enabled; format it without (nvme format --pi=0)")]
    Protection,
    /// LBADS is out of range.
    #[error("its blocks have 2^{0} bytes; Luge takes 512 bytes to 64 KiB (nvme format --lbaf)")]
    BlockSize(u8),
    /// NSZE is above 2^48, or the size in bytes does not fit 64 bits.
    #[error("it claims {0} blocks, more than Luge can address")]
    Size(u64),
    /// MDTS is below one block.
    #[error("the SSD transfers {0} bytes at most, less than one block")]
    Transfer(u32),
    /// Identify Namespace failed.
    #[error("the SSD does not identify it: {0}; attach the SSD again once it does")]
    Identify(StatusCode),
    /// The command set is not NVM, or not told.
    #[error("its I/O command set is {}, Luge has NVM only", command_set_name(*.0))]
    CommandSet(Option<u8>),
    /// The namespace is not what it was at bring-up.
    #[error(
        "it went away, shrank, was formatted, or its atomic writes became smaller; detach the SSD, and attach it again"
    )]
    Changed,
    /// The SSD was too slow to identify the namespace after a reset.
    #[error("the SSD is slow, and has not identified it yet")]
    NotYetIdentified,
}

fn command_set_name(set: Option<u8>) -> String {
    match set {
        Some(1) => "Key Value".into(),
        Some(2) => "Zoned Namespace".into(),
        Some(set) => format!("number {set}"),
        None => "not told".into(),
    }
}

/// Identifiers and geometry of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceInfo {
    pub id: NamespaceId,
    pub geometry: Geometry,
    pub eui64: [u8; 8],
    pub nguid: [u8; 16],
}

impl NamespaceInfo {
    pub(crate) fn new(
        id: NamespaceId,
        page: &IdentifyNamespace,
        limits: &Limits,
    ) -> Result<Self, FormatError> {
        let geometry = geometry(page, limits)?;
        let (eui64, nguid) = match limits.identifiers {
            Identifiers::Unique => (told(page.eui64), told(page.nguid)),
            Identifiers::Shared => ([0; 8], [0; 16]),
        };
        Ok(Self { id, geometry, eui64, nguid })
    }

    /// Whether this namespace, as it is now, can go on with requests for `known`, as it was at bring-up.
    pub(crate) fn serves_as(&self, known: &Self) -> bool {
        let (now, then) = (&self.geometry, &known.geometry);
        self.id == known.id
            && (self.nguid, self.eui64) == (known.nguid, known.eui64)
            && now.block_bytes == then.block_bytes
            && now.blocks >= then.blocks
            && now.atomic_blocks >= then.atomic_blocks
    }
}

/// Unique identifier as the SSD tells it; zeroes, which mean none, where it tells all ones.
fn told<const N: usize>(identifier: [u8; N]) -> [u8; N] {
    if identifier == [0xff; N] { [0; N] } else { identifier }
}

fn geometry(page: &IdentifyNamespace, limits: &Limits) -> Result<Geometry, FormatError> {
    let block_bytes = block_bytes(page)?;
    let blocks = page.size_blocks;
    if blocks > NAMESPACE_BLOCKS_MAX || blocks.checked_mul(block_bytes.into()).is_none() {
        return Err(FormatError::Size(blocks));
    }
    let transfer = limits.transfer_bytes.checked_div(block_bytes).unwrap_or(0);
    if transfer == 0 {
        return Err(FormatError::Transfer(limits.transfer_bytes));
    }
    let transfer_blocks_max = transfer.min(COUNTED_BLOCKS_MAX);
    Ok(Geometry {
        block_bytes,
        blocks: Blocks(blocks),
        transfer_blocks_max,
        turn_blocks_max: u32::MAX,
        spans_max: SPANS_MAX,
        discard_blocks_max: discard_blocks_max(limits, block_bytes),
        write_zeroes_blocks_max: blocks_max(
            limits,
            oncs::WRITE_ZEROES,
            limits.write_zeroes_bytes,
            block_bytes,
        ),
        atomic_blocks: atomic_blocks(page, limits.atomic, block_bytes).min(transfer_blocks_max),
        optimal_blocks: optimal_blocks(page, block_bytes),
        operations: OperationLimits {
            verify_blocks_max: blocks_max(limits, oncs::VERIFY, limits.verify_bytes, block_bytes),
            write_uncorrectable_blocks_max: blocks_max(
                limits,
                oncs::WRITE_UNCORRECTABLE,
                limits.write_uncorrectable_bytes,
                block_bytes,
            ),
            ..OperationLimits::NONE
        },
        volatile_cache: limits.volatile_cache,
        read_only: page.attributes & 1 == 1,
    })
}

fn block_bytes(page: &IdentifyNamespace) -> Result<u32, FormatError> {
    let format = page.format();
    if format.metadata_bytes != 0 {
        return Err(FormatError::Metadata(format.metadata_bytes));
    }
    if page.protection & 7 != 0 {
        return Err(FormatError::Protection);
    }
    match format.block_shift {
        shift @ 9..=16 => Ok(1 << shift),
        shift => Err(FormatError::BlockSize(shift)),
    }
}

fn discard_blocks_max(limits: &Limits, block_bytes: u32) -> u32 {
    if limits.oncs & oncs::DATASET_MANAGEMENT == 0 {
        return 0;
    }
    let reasonable = in_blocks(DISCARD_BYTES_MAX, block_bytes);
    limits.discard_blocks.map_or(reasonable, |limit| limit.min(reasonable))
}

/// Blocks of a command without data that is optional: `supported` is its bit of ONCS, `bytes` its limit.
fn blocks_max(limits: &Limits, supported: u16, bytes: Option<u64>, block_bytes: u32) -> u32 {
    if limits.oncs & supported == 0 {
        return 0;
    }
    let limit = bytes.map_or(COUNTED_BLOCKS_MAX, |bytes| in_blocks(bytes, block_bytes));
    limit.min(COUNTED_BLOCKS_MAX)
}

fn in_blocks(bytes: u64, block_bytes: u32) -> u32 {
    u32::try_from(bytes.checked_div(block_bytes.into()).unwrap_or(0)).unwrap_or(u32::MAX)
}

/// Blocks from which on a write is efficient: NOWS, else NPWG, if the namespace has them (NSFEAT bit 4), else
/// 4 KiB.
fn optimal_blocks(page: &IdentifyNamespace, block_bytes: u32) -> u32 {
    let told = [page.optimal_write_z, page.write_granularity_z].into_iter().find(|&blocks_z| blocks_z > 0);
    match told.filter(|_| page.features & 1 << 4 != 0) {
        Some(blocks_z) => u32::from(blocks_z).saturating_add(1),
        None => 4096u32.checked_div(block_bytes).unwrap_or(1).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomicity::AtomicSizes;
    use zerocopy::FromBytes;

    const LIMITS: Limits = Limits {
        transfer_bytes: 1 << 17,
        write_zeroes_bytes: None,
        verify_bytes: None,
        write_uncorrectable_bytes: None,
        discard_blocks: None,
        atomic: AtomicSizes { normal_bytes: 16 << 10, power_fail_bytes: 16 << 10 },
        volatile_cache: true,
        oncs: oncs::DATASET_MANAGEMENT | oncs::WRITE_ZEROES,
        identifiers: Identifiers::Unique,
    };

    fn page(block_shift: u8) -> IdentifyNamespace {
        let mut page = IdentifyNamespace::read_from_bytes(&[0; 4096]).unwrap();
        page.size_blocks = 1000;
        page.formats[0].block_shift = block_shift;
        page
    }

    #[test]
    fn limits_are_in_blocks_of_the_namespace() {
        let geometry = geometry(&page(12), &LIMITS).unwrap();
        assert_eq!(geometry.block_bytes, 4096);
        assert_eq!(geometry.blocks, Blocks(1000));
        assert_eq!(geometry.transfer_blocks_max, 32);
        assert_eq!(geometry.write_zeroes_blocks_max, 65536);
        assert_eq!(geometry.discard_blocks_max, 1 << 20);
        assert_eq!(geometry.optimal_blocks, 1);
        assert!(geometry.volatile_cache);
        assert!(!geometry.read_only);
    }

    #[test]
    fn formats_that_luge_cannot_serve_are_refused_by_name() {
        let metadata = IdentifyNamespace {
            formats: {
                let mut formats = page(9).formats;
                formats[0].metadata_bytes = 8;
                formats
            },
            ..page(9)
        };
        assert_eq!(geometry(&metadata, &LIMITS), Err(FormatError::Metadata(8)));
        assert_eq!(
            geometry(&IdentifyNamespace { protection: 1, ..page(9) }, &LIMITS),
            Err(FormatError::Protection)
        );
        for shift in [0, 8, 17, 64, 255] {
            assert_eq!(geometry(&page(shift), &LIMITS), Err(FormatError::BlockSize(shift)));
        }
        let vast = IdentifyNamespace { size_blocks: u64::MAX / 512 + 1, ..page(9) };
        assert_eq!(geometry(&vast, &LIMITS), Err(FormatError::Size(u64::MAX / 512 + 1)));
        let small = Limits { transfer_bytes: 8192, ..LIMITS };
        assert_eq!(geometry(&page(16), &small), Err(FormatError::Transfer(8192)));
    }

    #[test]
    fn what_the_controller_cannot_do_has_a_limit_of_zero() {
        let geometry = geometry(&page(9), &Limits { oncs: 0, ..LIMITS }).unwrap();
        assert_eq!(geometry.discard_blocks_max, 0);
        assert_eq!(geometry.write_zeroes_blocks_max, 0);
    }

    #[test]
    fn no_more_is_promised_to_be_atomic_than_one_command_can_carry() {
        let atomic = AtomicSizes { normal_bytes: 32 << 20, power_fail_bytes: 32 << 20 };
        for (transfer_bytes, blocks) in [(512, 1), (8192, 16), (2 << 20, 4096)] {
            let limits = Limits { transfer_bytes, atomic, ..LIMITS };
            assert_eq!(geometry(&page(9), &limits).unwrap().atomic_blocks, blocks);
        }
    }

    #[test]
    fn a_namespace_whose_atomic_writes_became_smaller_is_not_the_same() {
        let info = |blocks_z| {
            let mut page = page(9);
            (page.features, page.atomic_normal_z, page.atomic_power_fail_z) = (2, blocks_z, blocks_z);
            NamespaceInfo::new(NamespaceId(1), &page, &LIMITS).unwrap()
        };
        assert!(info(8).serves_as(&info(7)));
        assert!(!info(7).serves_as(&info(8)));
    }

    #[test]
    fn a_namespace_that_shrank_or_changed_its_blocks_is_not_the_same() {
        let info = |shift, blocks| {
            let page = IdentifyNamespace { size_blocks: blocks, ..page(shift) };
            NamespaceInfo::new(NamespaceId(1), &page, &LIMITS).unwrap()
        };
        assert!(info(9, 1000).serves_as(&info(9, 1000)));
        assert!(info(9, 1001).serves_as(&info(9, 1000)));
        assert!(!info(9, 999).serves_as(&info(9, 1000)));
        assert!(!info(12, 1000).serves_as(&info(9, 1000)));
    }
}

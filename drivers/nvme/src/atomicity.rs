//! Atomic writes: how many blocks a namespace changes as a whole.
//!
//! Path: none; bring-up. The result is [`luge_block::Geometry::atomic_blocks`].
//!
//! An SSD states two sizes (NVM 1.0, clause 2.1.4): one towards other reads and writes (AWUN, NAWUN), and one
//! across a power failure (AWUPF, NAWUPF). Luge promises both at once, so the smaller one counts. By the
//! specification that is the size across a power failure; an SSD that says otherwise is not believed.
//!
//! Invariants
//! - Luge never promises more than the SSD does, wherever a write begins. A namespace with atomic boundaries
//!   promises nothing for a write across one, so one block is all that Luge promises then.
//!
//! Not here: what fits one command (`format`), how a scattered write becomes one (`prp`, `bounce`).

use luge_spec::nvme::{IdentifyController, IdentifyNamespace};

/// Bit of NSFEAT: the namespace has atomic sizes of its own.
const OWN_SIZES: u8 = 1 << 1;

/// Bytes of a block in the sizes of a controller. They are counted in blocks of no stated size, and controllers
/// differ in which they mean. This is the smallest that there is.
const CONTROLLER_BLOCK_BYTES: u32 = 512;

/// Bytes that a controller writes as a whole, to any of its namespaces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtomicSizes {
    /// AWUN: towards other reads and writes.
    pub normal_bytes: u32,
    /// AWUPF: across a power failure.
    pub power_fail_bytes: u32,
}

impl AtomicSizes {
    pub(crate) fn new(page: &IdentifyController) -> Self {
        let bytes = |blocks_z| one_based(blocks_z).saturating_mul(CONTROLLER_BLOCK_BYTES);
        Self { normal_bytes: bytes(page.atomic_normal_z), power_fail_bytes: bytes(page.atomic_power_fail_z) }
    }

    /// Whether the controller promises at least as much as another one.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.normal_bytes >= other.normal_bytes && self.power_fail_bytes >= other.power_fail_bytes
    }
}

/// Number of blocks that a namespace changes as a whole, wherever a write begins. At least one.
pub(crate) fn atomic_blocks(page: &IdentifyNamespace, controller: AtomicSizes, block_bytes: u32) -> u32 {
    let boundaries =
        [page.atomic_boundary_normal_z, page.atomic_boundary_offset, page.atomic_boundary_power_fail_z];
    if boundaries != [0; 3] {
        return 1;
    }
    let size = |own_z: u16, controller_bytes: u32| match own_z {
        own_z if own_z > 0 && page.features & OWN_SIZES != 0 => one_based(own_z),
        _ => controller_bytes.checked_div(block_bytes).unwrap_or(0),
    };
    let normal = size(page.atomic_normal_z, controller.normal_bytes);
    let power_fail = size(page.atomic_power_fail_z, controller.power_fail_bytes);
    normal.min(power_fail).max(1)
}

fn one_based(blocks_z: u16) -> u32 {
    u32::from(blocks_z).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    /// Sizes of a controller with that AWUN and AWUPF.
    fn controller(normal_z: u16, power_fail_z: u16) -> AtomicSizes {
        let mut page = IdentifyController::new_zeroed();
        (page.atomic_normal_z, page.atomic_power_fail_z) = (normal_z, power_fail_z);
        AtomicSizes::new(&page)
    }

    /// A namespace with sizes of its own: NAWUN and NAWUPF.
    fn namespace(normal_z: u16, power_fail_z: u16) -> IdentifyNamespace {
        let mut page = IdentifyNamespace::new_zeroed();
        (page.features, page.atomic_normal_z, page.atomic_power_fail_z) = (OWN_SIZES, normal_z, power_fail_z);
        page
    }

    #[test]
    fn the_size_across_a_power_failure_counts_and_is_zero_based() {
        for block_bytes in [512, 4096] {
            assert_eq!(atomic_blocks(&namespace(255, 7), controller(0, 0), block_bytes), 8);
        }
    }

    #[test]
    fn a_size_across_a_power_failure_above_the_normal_one_is_not_believed() {
        assert_eq!(atomic_blocks(&namespace(3, 63), controller(63, 63), 512), 4);
        assert_eq!(atomic_blocks(&namespace(0, 0), controller(3, 63), 512), 4);
    }

    #[test]
    fn sizes_of_a_namespace_count_only_where_it_says_that_it_has_them() {
        let silent = IdentifyNamespace { features: !OWN_SIZES, ..namespace(63, 63) };
        assert_eq!(atomic_blocks(&silent, controller(0, 0), 512), 1);
        assert_eq!(atomic_blocks(&silent, controller(15, 15), 512), 16);
    }

    #[test]
    fn a_size_of_zero_in_a_namespace_is_that_of_its_controller() {
        assert_eq!(atomic_blocks(&namespace(0, 0), controller(15, 15), 512), 16);
        assert_eq!(atomic_blocks(&namespace(63, 0), controller(0, 7), 512), 8);
        assert_eq!(atomic_blocks(&namespace(0, 63), controller(0, 0), 512), 1);
    }

    #[test]
    fn sizes_of_a_controller_are_counted_in_the_smallest_blocks() {
        let blocks = |power_fail_z| atomic_blocks(&namespace(0, 0), controller(u16::MAX, power_fail_z), 4096);
        assert_eq!([0, 6, 7, 14, 15, 255].map(blocks), [1, 1, 1, 1, 2, 32]);
    }

    #[test]
    fn the_largest_numbers_neither_overflow_nor_become_none() {
        assert_eq!(atomic_blocks(&namespace(u16::MAX, u16::MAX), controller(0, 0), 512), 1 << 16);
        assert_eq!(atomic_blocks(&namespace(0, 0), controller(u16::MAX, u16::MAX), 512), 1 << 16);
        assert_eq!(atomic_blocks(&namespace(0, 0), controller(u16::MAX, u16::MAX), 1 << 16), 512);
    }

    #[test]
    fn a_namespace_with_atomic_boundaries_promises_single_blocks() {
        let sizes = namespace(63, 63);
        for page in [
            IdentifyNamespace { atomic_boundary_normal_z: 127, ..sizes },
            IdentifyNamespace { atomic_boundary_power_fail_z: 1, ..sizes },
            IdentifyNamespace { atomic_boundary_power_fail_z: u16::MAX, ..sizes },
            IdentifyNamespace { atomic_boundary_offset: 8, ..sizes },
            IdentifyNamespace { features: 0, atomic_boundary_normal_z: 127, ..sizes },
        ] {
            assert_eq!(atomic_blocks(&page, controller(63, 63), 512), 1);
        }
    }
}

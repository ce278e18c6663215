//! Hugepages that Luge needs for the SSDs of a host, by NUMA node.
//!
//! Not here: memory disks and the memory of VMs, whose sizes are the operator's choice.

use crate::pool::PagePool;
use crate::ssd::{Ssd, SsdState};
use serde::Serialize;
use std::collections::BTreeMap;

/// Memory that an SSD takes for each core of Luge: a queue pair with its pages.
const MIB_PER_SSD_AND_CORE: u64 = 2;

/// Hugepages for the SSDs of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct SsdMemory {
    /// NUMA node.
    pub node: u32,
    /// Number of SSDs that Luge has or can take.
    pub ssds: u64,
    /// Memory for each core of Luge, in MiB.
    pub mib_per_core: u64,
}

/// Lists the memory for SSDs that Luge has or can take, by node.
pub(crate) fn of_ssds(ssds: &[Ssd]) -> Vec<SsdMemory> {
    let mut nodes = BTreeMap::<u32, u64>::new();
    let usable = |ssd: &&Ssd| matches!(ssd.state, SsdState::Free | SsdState::Bound | SsdState::Open);
    for ssd in ssds.iter().filter(usable) {
        // A machine with one node may not number it.
        *nodes.entry(ssd.node.unwrap_or(0).into()).or_default() += 1;
    }
    let memory = |(node, ssds)| SsdMemory { node, ssds, mib_per_core: ssds * MIB_PER_SSD_AND_CORE };
    nodes.into_iter().map(memory).collect()
}

/// Lists the nodes without hugepages for their SSDs, with the remedy.
pub(crate) fn advice(needs: &[SsdMemory], pools: &[PagePool]) -> Vec<String> {
    let has_pages = |node: u32| pools.iter().any(|pool| pool.pool.node == node && pool.total > 0);
    let lacking = needs.iter().filter(|need| !has_pages(need.node));
    lacking.map(|&SsdMemory { node, ssds, mib_per_core }| {
        format!(
            "node {node} has SSDs ({ssds}) and no hugepages: `luge host hugepages MIB --node {node}`; they need \
             {mib_per_core} MiB for each core of Luge"
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;

    fn ssd(node: Option<u16>, state: SsdState) -> Ssd {
        let address = "0000:01:00.0".to_owned();
        Ssd {
            address,
            state,
            driver: None,
            node,
            iommu_group: None,
            id: String::new(),
            model: None,
            used_by: None,
        }
    }

    fn pool(node: u32, total: u64) -> PagePool {
        PagePool { pool: Pool { node, page_kib: 2048 }, total, free: total }
    }

    #[test]
    fn ssds_that_luge_cannot_take_need_nothing() {
        let ssds = [
            ssd(Some(0), SsdState::Used),
            ssd(Some(1), SsdState::Free),
            ssd(Some(1), SsdState::Open),
            ssd(None, SsdState::Bound),
            ssd(Some(0), SsdState::Foreign),
        ];
        let expected = [
            SsdMemory { node: 0, ssds: 1, mib_per_core: 2 },
            SsdMemory { node: 1, ssds: 2, mib_per_core: 4 },
        ];
        assert_eq!(of_ssds(&ssds), expected);
    }

    #[test]
    fn a_node_with_ssds_and_without_hugepages_is_named() {
        let needs = [0, 1].map(|node| SsdMemory { node, ssds: 3, mib_per_core: 6 });
        let advice = advice(&needs, &[pool(0, 16), pool(1, 0)]);
        assert_eq!(advice.len(), 1, "{advice:?}");
        assert!(
            advice[0].starts_with("node 1 has SSDs (3) and no hugepages: `luge host hugepages MIB --node 1`")
        );
        assert!(advice[0].ends_with("they need 6 MiB for each core of Luge"), "{}", advice[0]);
    }
}

//! State of a host, and what is missing.

use crate::iommu::Isolation;
use crate::latency::Cpus;
use crate::pages::pools;
use crate::pool::PagePool;
use crate::ssd::{Ssd, ssds};
use luge_vfio::SysfsRoot;
use serde::Serialize;

/// State of a host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    isolation: Isolation,
    /// NVMe SSDs.
    pub ssds: Vec<Ssd>,
    /// Hugepages.
    pub hugepages: Vec<PagePool>,
    cpus: Cpus,
    /// Advice: all that is missing or costs latency, with its remedy.
    pub advice: Vec<String>,
}

impl Report {
    /// Reads the state of a host.
    #[must_use]
    pub fn of(root: &SysfsRoot) -> Self {
        let (isolation, hugepages, cpus) = (Isolation::of(root), pools(root), Cpus::of(root));
        let mut advice = isolation.advice();
        advice.extend(hugepages_missing(&hugepages));
        advice.extend(cpus.advice());
        Self { isolation, ssds: ssds(root), hugepages, cpus, advice }
    }
}

fn hugepages_missing(pools: &[PagePool]) -> Option<String> {
    let any = pools.iter().any(|pool| pool.total > 0);
    (!any).then(|| {
        "no hugepages are reserved: `luge host hugepages MIB` reserves them; Luge needs 2 MiB for each SSD and core, \
         and the size of each memory disk"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_vfio::rig::FakeHost;

    #[test]
    fn a_host_without_hugepages_is_told_how_to_reserve_them() {
        let host = FakeHost::new();
        let wants = |host: &FakeHost| {
            Report::of(&host.root()).advice.iter().any(|line| line.contains("`luge host hugepages MIB`"))
        };
        host.hugepages(0, 2048, 0, 0);
        assert!(wants(&host));
        host.hugepages(0, 2048, 1, 0);
        assert!(!wants(&host));
    }
}

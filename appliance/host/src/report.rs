//! State of a host, and what is missing.

use crate::cpu_list::CpuList;
use crate::iommu::Isolation;
use crate::latency::Cpus;
use crate::needs::{self, SsdMemory};
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
    /// Hugepages that the SSDs need.
    pub ssd_memory: Vec<SsdMemory>,
    cpus: Cpus,
    /// Advice: all that is missing or costs latency, with its remedy.
    pub advice: Vec<String>,
}

impl Report {
    /// Reads the state of a host. `serving` are the CPUs that serve disks, where that is known.
    #[must_use]
    pub fn of(root: &SysfsRoot, serving: Option<&CpuList>) -> Self {
        let (isolation, hugepages, cpus) = (Isolation::of(root), pools(root), Cpus::of(root, serving));
        let ssds = ssds(root);
        let ssd_memory = needs::of_ssds(&ssds);
        let mut advice = isolation.advice();
        match hugepages_missing(&hugepages) {
            Some(missing) => advice.push(missing),
            None => advice.extend(needs::advice(&ssd_memory, &hugepages)),
        }
        advice.extend(cpus.advice());
        Self { isolation, ssds, hugepages, ssd_memory, cpus, advice }
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
            Report::of(&host.root(), None)
                .advice
                .iter()
                .any(|line| line.contains("`luge host hugepages MIB`"))
        };
        host.hugepages(0, 2048, 0, 0);
        assert!(wants(&host));
        host.hugepages(0, 2048, 1, 0);
        assert!(!wants(&host));
    }
}

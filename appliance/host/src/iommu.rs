//! Needs of VFIO: an IOMMU, and the driver vfio-pci.

use luge_vfio::SysfsRoot;
use serde::Serialize;
use std::fs;

/// Needs of VFIO that a host meets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Isolation {
    /// Number of IOMMU groups; zero without an IOMMU.
    pub(crate) iommu_groups: usize,
    /// Whether the driver vfio-pci is loaded.
    pub(crate) has_vfio_pci: bool,
}

impl Isolation {
    pub(crate) fn of(root: &SysfsRoot) -> Self {
        let groups = fs::read_dir(root.path("/sys/kernel/iommu_groups"));
        Self {
            iommu_groups: groups.into_iter().flatten().flatten().count(),
            has_vfio_pci: root.path("/sys/bus/pci/drivers/vfio-pci").exists(),
        }
    }

    /// Lists what is missing, with the remedy.
    pub(crate) fn advice(&self) -> Vec<String> {
        let iommu = "there is no IOMMU: enable VT-d or AMD-Vi in the firmware, and boot with intel_iommu=on iommu=pt \
                     (Intel) or iommu=pt (AMD)";
        let driver = "the driver vfio-pci is not loaded: modprobe vfio-pci";
        let missing = [(self.iommu_groups == 0).then_some(iommu), (!self.has_vfio_pci).then_some(driver)];
        missing.into_iter().flatten().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_vfio::rig::FakeHost;

    #[test]
    fn a_host_that_has_all_gets_no_advice() {
        let host = FakeHost::new();
        host.driver("vfio-pci").function("0000:01:00.0").group("0000:01:00.0", 7);
        let isolation = Isolation::of(&host.root());
        assert_eq!(isolation, Isolation { iommu_groups: 1, has_vfio_pci: true });
        assert!(isolation.advice().is_empty());
    }

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let advice = Isolation::of(&FakeHost::new().root()).advice();
        assert_eq!(advice.len(), 2);
        assert!(advice[0].contains("intel_iommu=on"), "{}", advice[0]);
        assert!(advice[1].contains("modprobe vfio-pci"), "{}", advice[1]);
    }
}

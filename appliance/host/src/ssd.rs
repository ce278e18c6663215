//! NVMe SSDs of a host, with their drivers and users.

use luge_vfio::{PciAddress, SysfsRoot, Usage};
use serde::Serialize;
use std::fs;

/// State of an SSD.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SsdState {
    /// Free to be taken.
    Free,
    /// Used by the host.
    Used,
    /// Bound to vfio-pci; nobody has it open.
    Bound,
    /// Bound to vfio-pci; a process has it open.
    Open,
    /// Bound to another driver.
    Foreign,
}

/// An NVMe SSD of the host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Ssd {
    /// PCI address.
    pub address: String,
    /// State.
    pub state: SsdState,
    /// Driver, if it has one.
    pub driver: Option<String>,
    /// NUMA node, where known.
    pub node: Option<u16>,
    /// IOMMU group; none without an IOMMU.
    pub iommu_group: Option<u32>,
    /// PCI vendor and device ID.
    pub id: String,
    /// Model, which only the kernel's driver tells.
    pub model: Option<String>,
    /// Use that was found.
    pub used_by: Option<String>,
}

/// Lists the SSDs, in the order of their addresses.
pub(crate) fn ssds(root: &SysfsRoot) -> Vec<Ssd> {
    let functions = root.nvme_functions().unwrap_or_default();
    functions.into_iter().map(|address| ssd(root, address)).collect()
}

fn ssd(root: &SysfsRoot, address: PciAddress) -> Ssd {
    let (state, used_by) = match Usage::of(root, address) {
        Usage::Free => (SsdState::Free, None),
        Usage::Host(by) => (SsdState::Used, Some(by)),
        Usage::Bound => (SsdState::Bound, None),
        Usage::Open(by) => (SsdState::Open, Some(by)),
        Usage::Driver(_) => (SsdState::Foreign, None),
    };
    Ssd {
        address: address.to_string(),
        state,
        driver: root.driver(address),
        node: root.numa_node(address).map(|node| node.0),
        iommu_group: root.iommu_group(address),
        id: format!("{}:{}", attribute(root, address, "vendor"), attribute(root, address, "device")),
        model: model(root, address),
        used_by,
    }
}

fn attribute(root: &SysfsRoot, address: PciAddress, name: &str) -> String {
    let text = fs::read_to_string(root.function(address, name)).unwrap_or_default();
    text.trim().trim_start_matches("0x").to_owned()
}

fn model(root: &SysfsRoot, address: PciAddress) -> Option<String> {
    let mut controllers = fs::read_dir(root.function(address, "nvme")).ok()?.flatten();
    let text = controllers.find_map(|entry| fs::read_to_string(entry.path().join("model")).ok())?;
    Some(text.trim().to_owned()).filter(|model| !model.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_vfio::rig::FakeHost;

    #[test]
    fn an_ssd_is_listed_with_what_the_host_knows_of_it() {
        let host = FakeHost::new();
        let address = "0000:01:00.0";
        host.driver("nvme").function(address).group(address, 7).bound(address, "nvme");
        host.attribute(address, "vendor", "0x144d\n").attribute(address, "device", "0xa80a\n");
        host.attribute(address, "numa_node", "1\n").attribute(address, "nvme/nvme0/model", "Fast One   \n");
        let expected = Ssd {
            address: address.into(),
            state: SsdState::Free,
            driver: Some("nvme".into()),
            node: Some(1),
            iommu_group: Some(7),
            id: "144d:a80a".into(),
            model: Some("Fast One".into()),
            used_by: None,
        };
        assert_eq!(ssds(&host.root()), [expected]);
    }

    #[test]
    fn an_ssd_that_is_mounted_is_used_and_the_use_is_named() {
        let host = FakeHost::new();
        let address = "0000:01:00.0";
        host.driver("nvme").function(address).bound(address, "nvme");
        host.disk(address, "nvme0", "nvme0n1", "259:0");
        host.file("proc/self/mountinfo", "22 1 259:0 / /srv rw - ext4 /dev/nvme0n1 rw\n");
        let found = ssds(&host.root());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].state, SsdState::Used);
        assert_eq!(found[0].used_by.as_deref(), Some("nvme0n1 is mounted on /srv"));
        assert_eq!(found[0].iommu_group, None);
    }
}

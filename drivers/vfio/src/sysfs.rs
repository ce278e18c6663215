//! PCI functions in the kernel's files below `/sys`, `/proc` and `/dev`.
//!
//! Invariant: every path starts at one root, so that a test can use a tree of its own.
//!
//! Not here: changing drivers (`binding`).

use crate::PciAddress;
use crate::claims::{Claims, GroupClaims};
use luge_memory::NumaNode;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Base class 01h (mass storage), sub-class 08h (non-volatile memory), interface 02h: NVMe
/// (NVM Express over PCIe Transport Specification, class code).
pub const NVME_CLASS: u32 = 0x01_08_02;

/// Name of the VFIO driver for PCI functions.
pub const VFIO_PCI: &str = "vfio-pci";

/// Name of the kernel's driver for NVMe controllers.
pub const NVME: &str = "nvme";

/// Function that writes a file of `/sys`.
type Store = fn(&SysfsRoot, &Path, &str) -> io::Result<()>;

/// Folder that contains `sys`, `proc` and `dev`: `/`, except in tests.
#[derive(Clone, Debug)]
pub struct SysfsRoot {
    root: PathBuf,
    store: Store,
    claims: Arc<Claims>,
}

impl Default for SysfsRoot {
    fn default() -> Self {
        Self::new("/")
    }
}

impl SysfsRoot {
    /// Tree below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let store = |_: &Self, path: &Path, text: &str| write_existing(path, text);
        Self { root: root.into(), store, claims: Arc::default() }
    }

    /// Tree in which `store` acts as the kernel.
    #[cfg(any(test, feature = "rig"))]
    pub(crate) fn with_store(root: impl Into<PathBuf>, store: Store) -> Self {
        Self { root: root.into(), store, claims: Arc::default() }
    }

    /// Path in this tree of the absolute path `path`.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Path of a file or folder of a function.
    #[must_use]
    pub fn function(&self, address: PciAddress, name: &str) -> PathBuf {
        self.path(&format!("/sys/bus/pci/devices/{address}")).join(name)
    }

    /// Writes an existing file by one `write`; neither creates nor truncates it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn store(&self, path: &Path, text: &str) -> io::Result<()> {
        (self.store)(self, path, text)
    }

    /// Lists all functions of the NVMe class in the order of their addresses.
    ///
    /// # Errors
    /// If the list of PCI functions cannot be read.
    pub fn nvme_functions(&self) -> io::Result<Vec<PciAddress>> {
        let mut found: Vec<PciAddress> = names(&self.path("/sys/bus/pci/devices"))?
            .iter()
            .filter_map(|name| name.parse().ok())
            .filter(|&address| self.class(address) == Some(NVME_CLASS))
            .collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Class code of a function, if it can be read.
    #[must_use]
    pub fn class(&self, address: PciAddress) -> Option<u32> {
        let text = fs::read_to_string(self.function(address, "class")).ok()?;
        u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
    }

    /// Driver that a function is bound to, if any.
    #[must_use]
    pub fn driver(&self, address: PciAddress) -> Option<String> {
        link_name(&self.function(address, "driver"))
    }

    /// Number of a function's IOMMU group; none without an IOMMU.
    #[must_use]
    pub fn iommu_group(&self, address: PciAddress) -> Option<u32> {
        link_name(&self.function(address, "iommu_group"))?.parse().ok()
    }

    /// Functions of an IOMMU group that this process is about to open.
    pub(crate) fn claims(&self, group: Option<u32>) -> Arc<GroupClaims> {
        self.claims.of(group)
    }

    /// All functions of the IOMMU group of `address`, itself included.
    #[must_use]
    pub fn group_members(&self, address: PciAddress) -> Vec<PciAddress> {
        let members = names(&self.function(address, "iommu_group/devices")).unwrap_or_default();
        members.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// Name of a function's VFIO device (`vfio0`), if it is bound to vfio-pci.
    pub(crate) fn vfio_device(&self, address: PciAddress) -> Option<String> {
        names(&self.function(address, "vfio-dev")).ok()?.into_iter().find(|name| name.starts_with("vfio"))
    }

    /// NUMA node of a function, if known.
    #[must_use]
    pub fn numa_node(&self, address: PciAddress) -> Option<NumaNode> {
        fs::read_to_string(self.function(address, "numa_node")).ok()?.trim().parse().ok().map(NumaNode)
    }
}

/// Names in a folder, sorted.
pub fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names: Vec<String> =
        fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

/// Last component of a symbolic link's target.
fn link_name(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
}

/// Writes to an existing file by one `write`; neither creates nor truncates it.
pub fn write_existing(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use crate::rig::FakeHost;
    use luge_memory::NumaNode;

    #[test]
    fn only_nvme_controllers_are_listed_in_order() {
        let host = FakeHost::new();
        host.function("0000:02:00.0").function("0000:01:00.0").function("10000:01:00.0");
        host.function("0000:00:1f.2").attribute("0000:00:1f.2", "class", "0x010601\n");
        let found: Vec<String> =
            host.root().nvme_functions().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["0000:01:00.0", "0000:02:00.0", "10000:01:00.0"]);
    }

    #[test]
    fn a_function_has_a_node_or_none() {
        let host = FakeHost::new();
        host.function("0000:01:00.0").function("0000:02:00.0");
        host.attribute("0000:01:00.0", "numa_node", "1\n").attribute("0000:02:00.0", "numa_node", "-1\n");
        let node = |address: &str| host.root().numa_node(address.parse().unwrap());
        assert_eq!(["01:00.0", "02:00.0", "03:00.0"].map(node), [Some(NumaNode(1)), None, None]);
    }

    #[test]
    fn a_file_that_does_not_exist_is_not_created() {
        let host = FakeHost::new();
        let path = host.root().path("/sys/bus/pci/nothing");
        assert!(super::write_existing(&path, "x").is_err() && !path.exists());
    }
}

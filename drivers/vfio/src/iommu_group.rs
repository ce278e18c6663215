//! The IOMMU group of an SSD, checked before the SSD is bound to vfio-pci, opened, or bound back.
//!
//! All functions of a group reach the same memory, so that VFIO needs all of them.
//!
//! Not here: changing drivers (`binding`).

use crate::openers::{self, Node};
use crate::sysfs::{NVME, NVME_CLASS, VFIO_PCI};
use crate::{BindError, PciAddress, SysfsRoot, in_use};
use rustix::fs::FileType;

/// Drivers that do no DMA; the kernel lets them share a group with vfio-pci.
const HARMLESS: [&str; 3] = [VFIO_PCI, "pcieport", "pci-stub"];

const CHARACTER: FileType = FileType::CharacterDevice;

/// Other SSDs of the group that the kernel drives and nobody uses.
pub fn companions(root: &SysfsRoot, address: PciAddress) -> Result<Vec<PciAddress>, BindError> {
    let group = root.iommu_group(address).ok_or(BindError::NoIommuGroup(address))?;
    let is_ssd = |other: PciAddress, driver: &str| driver == NVME && root.class(other) == Some(NVME_CLASS);
    let (ssds, strangers): (Vec<_>, Vec<_>) =
        host_driven(root, address).into_iter().partition(|(other, driver)| is_ssd(*other, driver));
    refuse_strangers(address, group, &strangers)?;
    for (other, _) in &ssds {
        if let Some(by) = in_use::find(root, *other) {
            return Err(BindError::CompanionInUse { address, group, other: *other, by });
        }
    }
    Ok(ssds.into_iter().map(|(other, _)| other).collect())
}

/// Checks that no other function of the IOMMU group is bound to a host driver. Returns the group.
pub fn check_group(root: &SysfsRoot, address: PciAddress) -> Result<u32, BindError> {
    let group = root.iommu_group(address).ok_or(BindError::NoIommuGroup(address))?;
    refuse_strangers(address, group, &host_driven(root, address))?;
    Ok(group)
}

/// Other functions of the group that are bound to host drivers, with those drivers.
fn host_driven(root: &SysfsRoot, address: PciAddress) -> Vec<(PciAddress, String)> {
    let members = root.group_members(address).into_iter();
    let others = members.filter(|&other| other != address);
    let driven = others.filter_map(|other| Some((other, root.driver(other)?)));
    driven.filter(|(_, driver)| !HARMLESS.contains(&driver.as_str())).collect()
}

fn refuse_strangers(
    address: PciAddress,
    group: u32,
    strangers: &[(PciAddress, String)],
) -> Result<(), BindError> {
    if strangers.is_empty() {
        return Ok(());
    }
    let others: Vec<_> = strangers.iter().map(|(other, driver)| format!("{other} ({driver})")).collect();
    Err(BindError::GroupNotViable { address, group, others: others.join(", ") })
}

/// Finds a process that has a function of the group open through VFIO, and describes it.
pub fn user(root: &SysfsRoot, address: PciAddress) -> Option<String> {
    let group = root.iommu_group(address)?.to_string();
    let group =
        Node::of(&root.path("/sys/class/vfio").join(&group), &format!("/dev/vfio/{group}"), CHARACTER);
    let members = root.group_members(address);
    let devices = members.into_iter().filter_map(|member| {
        let name = root.vfio_device(member)?;
        Node::of(&root.function(member, "vfio-dev").join(&name), &member.to_string(), CHARACTER)
    });
    openers::find(root, &group.into_iter().chain(devices).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use crate::rig::FakeHost;
    use crate::{PciAddress, bind};

    const ADDRESS: &str = "0000:01:00.0";
    const OTHER: &str = "0000:01:00.1";

    fn address() -> PciAddress {
        ADDRESS.parse().unwrap()
    }

    fn other() -> PciAddress {
        OTHER.parse().unwrap()
    }

    /// Two SSDs in group 7, driven by the kernel.
    fn pair() -> FakeHost {
        let host = FakeHost::new();
        host.driver("vfio-pci").driver("nvme");
        for function in [ADDRESS, OTHER] {
            host.function(function).group(function, 7).bound(function, "nvme");
        }
        host
    }

    fn drivers(host: &FakeHost) -> [Option<String>; 2] {
        [address(), other()].map(|function| host.root().driver(function))
    }

    fn both_have(host: &FakeHost, driver: &str) {
        assert_eq!(drivers(host), [Some(driver.to_owned()), Some(driver.to_owned())]);
    }

    #[test]
    fn two_ssds_of_one_group_are_both_taken_in_either_order() {
        for order in [[address(), other()], [other(), address()]] {
            let host = pair();
            let root = host.root();
            let bindings = order.map(|function| bind(&root, function).unwrap());
            both_have(&host, "vfio-pci");
            drop(bindings);
            both_have(&host, "vfio-pci");
        }
    }

    #[test]
    fn an_ssd_of_a_pair_that_is_given_back_takes_the_other_one_along() {
        let host = pair();
        bind(&host.root(), address()).unwrap().restore().unwrap();
        both_have(&host, "nvme");
        assert_eq!(host.read(&format!("devices/{OTHER}/driver_override")).trim(), "");
    }

    #[test]
    fn an_ssd_of_a_pair_stays_while_the_other_one_is_being_attached() {
        let host = pair();
        let root = host.root();
        let (first, second) = (bind(&root, address()).unwrap(), bind(&root, other()).unwrap());
        let error = first.restore().unwrap_err().to_string();
        assert!(error.contains("0000:01:00.1 is being attached"), "{error}");
        both_have(&host, "vfio-pci");
        second.restore().unwrap();
        both_have(&host, "vfio-pci");
    }

    #[test]
    fn an_ssd_of_a_pair_stays_while_a_process_uses_the_group() {
        for node in ["sys/class/vfio/7", "sys/bus/pci/devices/0000:01:00.1/vfio-dev/vfio3"] {
            let host = pair();
            let binding = bind(&host.root(), address()).unwrap();
            host.file(&format!("{node}/dev"), "1:3\n").process(812, "qemu", &["/dev/null"]);
            let error = binding.restore().unwrap_err().to_string();
            assert!(error.contains("process 812 qemu") && error.contains("0000:01:00.0 cannot"), "{error}");
            both_have(&host, "vfio-pci");
        }
    }

    #[test]
    fn an_ssd_that_shares_its_group_with_one_in_use_is_refused_by_name() {
        let host = pair();
        host.disk(OTHER, "nvme1", "nvme1n1", "259:4");
        host.file("proc/self/mountinfo", "22 1 259:4 / /srv rw - ext4 /dev/nvme1n1 rw\n");
        let error = bind(&host.root(), address()).unwrap_err().to_string();
        assert!(error.contains("0000:01:00.1 of the same IOMMU group 7 is in use"), "{error}");
        assert!(error.contains("nvme1n1 is mounted on /srv; unmount"), "{error}");
        both_have(&host, "nvme");
    }

    #[test]
    fn an_ssd_of_a_pair_that_vfio_pci_does_not_take_leaves_both_as_they_were() {
        let host = pair();
        host.driver_that_refuses("vfio-pci");
        assert!(bind(&host.root(), address()).is_err());
        both_have(&host, "nvme");
        host.remove("sys/bus/pci/drivers/vfio-pci/refuses");
        let binding = bind(&host.root(), address()).unwrap();
        host.remove(&format!("sys/bus/pci/devices/{OTHER}/driver_override"));
        assert!(binding.restore().is_err(), "one that cannot be given back is told");
        assert_eq!(drivers(&host)[0].as_deref(), Some("nvme"), "the other one is");
    }

    #[test]
    fn ssds_of_a_pair_without_a_driver_or_with_vfio_pci_are_taken_alone() {
        let host = FakeHost::new();
        host.driver("vfio-pci").driver("nvme").function(ADDRESS).group(ADDRESS, 7);
        host.function(OTHER).group(OTHER, 7);
        let root = host.root();
        let first = bind(&root, address()).unwrap();
        assert_eq!(drivers(&host), [Some("vfio-pci".into()), None]);
        let second = bind(&root, other()).unwrap();
        both_have(&host, "vfio-pci");
        drop(first);
        second.restore().unwrap();
        assert_eq!(drivers(&host), [Some("vfio-pci".into()), None]);
    }

    #[test]
    fn ssds_of_one_group_are_bound_and_given_back_by_many_threads_at_once() {
        let host = pair();
        let root = host.root();
        std::thread::scope(|scope| {
            for function in [address(), other()] {
                let root = &root;
                scope.spawn(move || {
                    for _ in 0..50 {
                        let _ = bind(root, function).unwrap().restore();
                    }
                });
            }
        });
        let drivers = drivers(&host);
        assert_eq!(drivers[0], drivers[1]);
    }
}

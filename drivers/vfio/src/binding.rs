//! Binds an SSD to vfio-pci, and back to the kernel driver that it had.
//!
//! ```text
//!              (1)             (2)                (3)                 (4)
//!   checked -------> overridden -----> unbound -------------> probed -------> bound
//!      |                 |                |                      |
//!      +-- refused       +------- (5) ----+---------- (5) -------+--> as before
//! ```
//!
//! 1. `driver_override` is set to vfio-pci, so that no other driver binds the function.
//! 2. The function is unbound from its driver.
//! 3. The kernel looks for a driver again (`drivers_probe`).
//! 4. The function is bound to vfio-pci.
//! 5. On a failure the override is cleared, and the function is bound to its previous driver.
//!
//! VFIO needs the whole IOMMU group of a function. Other SSDs of the group that the kernel drives and
//! nobody uses, the companions, are bound in the same way before the function.
//!
//! Invariants
//! - An SSD that the host uses is refused, and the error names the use.
//! - A refusal or a failure leaves all functions with their drivers.
//! - No function of a group gets a host driver while another one is used through VFIO.
//!
//! Not here: opening the function (`vfio`), the members of its group (`iommu_group`).

use crate::iommu_group::{companions, user};
use crate::sysfs::{NVME, NVME_CLASS, VFIO_PCI};
use crate::{BindError, PciAddress, SysfsRoot, in_use};
use std::path::PathBuf;

/// A function that is bound to vfio-pci, with its previous driver. Dropping it changes no driver: a
/// process that ends should not give SSDs to the kernel. Keep it until the function was opened.
#[derive(Debug)]
#[must_use]
pub struct Binding {
    root: SysfsRoot,
    address: PciAddress,
    /// Functions that were bound, in this order, and their previous drivers: companions, then the function.
    bound: Vec<(PciAddress, Option<String>)>,
}

/// Binds an NVMe controller to vfio-pci, unless it is bound already.
///
/// # Errors
/// [`BindError`]; the function keeps its driver.
pub fn bind(root: &SysfsRoot, address: PciAddress) -> Result<Binding, BindError> {
    let claims = root.claims(root.iommu_group(address));
    let mut claimed = claims.lock();
    let companions = check(root, address)?;
    let mut bound = Vec::new();
    for function in companions.into_iter().chain([address]) {
        let before = root.driver(function);
        if before.as_deref() != Some(VFIO_PCI) {
            bound.push((function, before));
            bind_one(root, function).inspect_err(|_| drop(restore_all(root, &bound)))?;
        }
    }
    claimed.push(address);
    Ok(Binding { root: root.clone(), address, bound })
}

/// Checks whether [`bind`] would refuse an NVMe controller. Changes nothing.
///
/// # Errors
/// As [`bind`], without those of writing.
pub fn check_bind(root: &SysfsRoot, address: PciAddress) -> Result<(), BindError> {
    check(root, address).map(drop)
}

impl Binding {
    /// Address of the function.
    #[must_use]
    pub fn address(&self) -> PciAddress {
        self.address
    }

    /// Binds the function and its companions to their previous drivers. The function has to be closed,
    /// because the kernel waits for that.
    ///
    /// # Errors
    /// [`BindError::Write`]; [`BindError::GroupInUse`] if another function of the group is used: then
    /// all stay with vfio-pci.
    pub fn restore(self) -> Result<(), BindError> {
        let claims = self.root.claims(self.root.iommu_group(self.address));
        let claimed = claims.lock();
        if self.bound.is_empty() {
            return Ok(());
        }
        let coming = claimed.iter().find(|&&other| other != self.address);
        let by = coming.map(|other| format!("{other} is being attached"));
        if let Some(by) = by.or_else(|| user(&self.root, self.address)) {
            return Err(BindError::GroupInUse { address: self.address, by });
        }
        restore_all(&self.root, &self.bound)
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        let claims = self.root.claims(self.root.iommu_group(self.address));
        let mut claimed = claims.lock();
        if let Some(at) = claimed.iter().position(|&claim| claim == self.address) {
            claimed.swap_remove(at);
        }
    }
}

/// Binds a function that is bound to vfio-pci to `driver`, or to none.
///
/// # Errors
/// [`BindError::GroupInUse`] while a process uses the function's group, [`BindError::Write`].
pub fn give_back(root: &SysfsRoot, address: PciAddress, driver: Option<&str>) -> Result<(), BindError> {
    let claims = root.claims(root.iommu_group(address));
    let claimed = claims.lock();
    let coming = claimed.first().map(|other| format!("{other} is being attached"));
    match coming.or_else(|| user(root, address)) {
        Some(by) => Err(BindError::GroupInUse { address, by }),
        None => restore_one(root, address, driver),
    }
}

/// Binds functions to their previous drivers, in reverse order. A failure does not stop the others.
fn restore_all(root: &SysfsRoot, bound: &[(PciAddress, Option<String>)]) -> Result<(), BindError> {
    let returned: Vec<_> =
        bound.iter().rev().map(|(address, before)| restore_one(root, *address, before.as_deref())).collect();
    returned.into_iter().collect()
}

fn restore_one(root: &SysfsRoot, address: PciAddress, before: Option<&str>) -> Result<(), BindError> {
    write(root, root.function(address, "driver_override"), "\n")?;
    if root.driver(address).as_deref() == before {
        return Ok(());
    }
    unbind(root, address)?;
    if before.is_some() { probe(root, address) } else { Ok(()) }
}

fn bind_one(root: &SysfsRoot, address: PciAddress) -> Result<(), BindError> {
    write(root, root.function(address, "driver_override"), VFIO_PCI)?;
    unbind(root, address)?;
    probe(root, address)?;
    let bound = root.driver(address).as_deref() == Some(VFIO_PCI);
    bound.then_some(()).ok_or(BindError::Refused(address))
}

fn unbind(root: &SysfsRoot, address: PciAddress) -> Result<(), BindError> {
    match root.driver(address) {
        Some(_) => write(root, root.function(address, "driver/unbind"), &address.to_string()),
        None => Ok(()),
    }
}

fn probe(root: &SysfsRoot, address: PciAddress) -> Result<(), BindError> {
    write(root, root.path("/sys/bus/pci/drivers_probe"), &address.to_string())
}

fn write(root: &SysfsRoot, path: PathBuf, text: &str) -> Result<(), BindError> {
    root.store(&path, text).map_err(|source| BindError::Write { path, source })
}

/// Checks for reasons to refuse the function, the simplest first. Returns its companions.
fn check(root: &SysfsRoot, address: PciAddress) -> Result<Vec<PciAddress>, BindError> {
    let class = root.class(address).ok_or(BindError::NoSuchDevice(address))?;
    if class != NVME_CLASS {
        return Err(BindError::NotNvme { address, class });
    }
    if let Some(by) = in_use::find(root, address) {
        return Err(BindError::InUse { address, by });
    }
    match root.driver(address) {
        Some(driver) if driver != NVME && driver != VFIO_PCI => {
            return Err(BindError::BoundElsewhere { address, driver });
        }
        _ => {}
    }
    let companions = companions(root, address)?;
    let known = root.path("/sys/bus/pci/drivers").join(VFIO_PCI).exists();
    known.then_some(companions).ok_or(BindError::NoVfioPci)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::FakeHost;

    const ADDRESS: &str = "0000:01:00.0";

    fn address() -> PciAddress {
        ADDRESS.parse().unwrap()
    }

    /// One SSD in group 7, driven by the kernel.
    fn host() -> FakeHost {
        let host = FakeHost::new();
        host.driver("vfio-pci").driver("nvme").driver("e1000");
        host.function(ADDRESS).group(ADDRESS, 7).bound(ADDRESS, "nvme");
        host
    }

    /// Message of the refusal; checks that the host has not changed.
    fn refused(host: &FakeHost) -> String {
        let before = host.root().driver(address());
        let error = bind(&host.root(), address()).unwrap_err();
        assert_eq!(host.root().driver(address()), before);
        assert_eq!(host.read("drivers_probe"), "", "something was changed");
        error.to_string()
    }

    #[test]
    fn an_ssd_goes_to_vfio_pci_and_back() {
        let host = host();
        let binding = bind(&host.root(), address()).unwrap();
        assert_eq!(host.root().driver(address()).as_deref(), Some("vfio-pci"));
        binding.restore().unwrap();
        assert_eq!(host.root().driver(address()).as_deref(), Some("nvme"));
    }

    #[test]
    fn an_ssd_that_another_process_has_bound_is_given_back_to_any_driver_or_none() {
        let host = host();
        for driver in [Some("nvme"), None] {
            drop(bind(&host.root(), address()).unwrap());
            give_back(&host.root(), address(), driver).unwrap();
            assert_eq!(host.root().driver(address()).as_deref(), driver);
        }
    }

    #[test]
    fn an_ssd_is_not_given_back_while_a_process_uses_it() {
        let host = host();
        drop(bind(&host.root(), address()).unwrap());
        host.file("sys/class/vfio/7/dev", "1:3\n").process(812, "qemu", &["/dev/null"]);
        let error = give_back(&host.root(), address(), Some("nvme")).unwrap_err().to_string();
        assert!(error.contains("process 812 qemu"), "{error}");
        assert_eq!(host.root().driver(address()).as_deref(), Some("vfio-pci"));
    }

    #[test]
    fn an_ssd_without_a_driver_has_none_afterwards() {
        let host = FakeHost::new();
        host.driver("vfio-pci").driver("nvme").function(ADDRESS).group(ADDRESS, 7);
        let binding = bind(&host.root(), address()).unwrap();
        assert_eq!(host.root().driver(address()).as_deref(), Some("vfio-pci"));
        binding.restore().unwrap();
        assert_eq!(host.root().driver(address()), None);
    }

    #[test]
    fn an_ssd_that_is_bound_to_vfio_pci_stays_there() {
        let host = host();
        host.bound(ADDRESS, "vfio-pci");
        bind(&host.root(), address()).unwrap().restore().unwrap();
        assert_eq!(host.root().driver(address()).as_deref(), Some("vfio-pci"));
        assert_eq!(host.read("drivers_probe"), "");
    }

    #[test]
    fn an_ssd_that_vfio_pci_does_not_take_goes_back() {
        let host = host();
        host.driver_that_refuses("vfio-pci");
        let error = bind(&host.root(), address()).unwrap_err();
        assert!(matches!(error, BindError::Refused(_)), "{error}");
        assert_eq!(host.root().driver(address()).as_deref(), Some("nvme"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_and_nothing_changes() {
        let host = host();
        host.remove(&format!("sys/bus/pci/devices/{ADDRESS}/driver_override"));
        assert!(refused(&host).contains("driver_override"));
    }

    #[test]
    fn a_device_that_does_not_exist_is_refused() {
        let error = bind(&FakeHost::new().root(), address()).unwrap_err();
        assert!(error.to_string().contains("no PCI device 0000:01:00.0"), "{error}");
    }

    #[test]
    fn a_device_that_is_not_an_nvme_controller_is_refused() {
        let host = host();
        host.attribute(ADDRESS, "class", "0x020000\n");
        assert!(refused(&host).contains("its PCI class is 0x020000"));
    }

    #[test]
    fn an_ssd_that_is_in_use_is_refused_by_name() {
        let host = host();
        host.disk(ADDRESS, "nvme0", "nvme0n1", "259:0").partition("nvme0n1", "nvme0n1p1", "259:1");
        host.file("proc/self/mountinfo", "22 1 259:1 / / rw - ext4 /dev/nvme0n1p1 rw\n");
        assert!(refused(&host).contains("nvme0n1p1 is mounted on /;"));
    }

    #[test]
    fn an_ssd_of_another_driver_is_refused() {
        let host = host();
        host.driver("uio_pci_generic").bound(ADDRESS, "uio_pci_generic");
        assert!(refused(&host).contains("/sys/bus/pci/drivers/uio_pci_generic/unbind"));
    }

    #[test]
    fn an_ssd_behind_no_iommu_is_refused() {
        let host = FakeHost::new();
        host.driver("vfio-pci").function(ADDRESS);
        assert!(refused(&host).contains("intel_iommu=on"));
    }

    #[test]
    fn an_ssd_that_shares_its_group_with_the_host_is_refused() {
        let host = host();
        host.function("0000:01:00.1").group("0000:01:00.1", 7).bound("0000:01:00.1", "e1000");
        host.function("0000:01:00.2").group("0000:01:00.2", 7);
        let error = refused(&host);
        assert!(error.contains("the host uses 0000:01:00.1 (e1000) of the same IOMMU group 7;"), "{error}");
    }

    #[test]
    fn a_kernel_without_vfio_pci_is_reported() {
        let host = FakeHost::new();
        host.driver("nvme").function(ADDRESS).group(ADDRESS, 7).bound(ADDRESS, "nvme");
        assert!(refused(&host).contains("modprobe vfio-pci"));
    }
}

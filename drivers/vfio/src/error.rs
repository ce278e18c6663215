//! Errors of binding and opening a PCI function; each message names the thing and the remedy.

use crate::PciAddress;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Failure to bind a function to vfio-pci or back; no driver has changed.
#[derive(Debug, Error)]
pub enum BindError {
    /// The function does not exist.
    #[error("there is no PCI device {0}: `lspci -D -d ::0108` lists the NVMe controllers")]
    NoSuchDevice(PciAddress),
    /// The function is not an NVMe controller.
    #[error("{address} is not an NVMe controller: its PCI class is {class:#08x}, not 0x010802")]
    NotNvme {
        /// The function.
        address: PciAddress,
        /// Class code.
        class: u32,
    },
    /// The function has no IOMMU.
    #[error(
        "{0} is behind no IOMMU: enable VT-d or AMD-Vi in the firmware and boot with intel_iommu=on \
         (in QEMU: -device intel-iommu,intremap=on)"
    )]
    NoIommuGroup(PciAddress),
    /// The host uses the content of the SSD.
    #[error("{address} is in use: {by}; unmount or release that first, or choose another SSD")]
    InUse {
        /// The function.
        address: PciAddress,
        /// Use that was found.
        by: String,
    },
    /// The function is bound to a driver other than the kernel's NVMe driver or vfio-pci.
    #[error(
        "{address} is bound to the driver '{driver}': stop what uses it, then \
         echo {address} > /sys/bus/pci/drivers/{driver}/unbind"
    )]
    BoundElsewhere {
        /// The function.
        address: PciAddress,
        /// Name of the driver.
        driver: String,
    },
    /// Host drivers use other functions of the IOMMU group.
    #[error(
        "{address} cannot be isolated: the host uses {others} of the same IOMMU group {group}; \
         unbind those (echo ADDRESS > /sys/bus/pci/devices/ADDRESS/driver/unbind) \
         or put the SSD into another slot"
    )]
    GroupNotViable {
        /// The function.
        address: PciAddress,
        /// IOMMU group.
        group: u32,
        /// Functions in use, with their drivers.
        others: String,
    },
    /// Another SSD of the IOMMU group, which would have to be bound to vfio-pci too, is in use.
    #[error(
        "{address} cannot be isolated: {other} of the same IOMMU group {group} is in use: {by}; \
         unmount or release that first, or put the SSD into another slot"
    )]
    CompanionInUse {
        /// The function.
        address: PciAddress,
        /// IOMMU group.
        group: u32,
        /// Other SSD.
        other: PciAddress,
        /// Use that was found.
        by: String,
    },
    /// The IOMMU group is still used through VFIO, which excludes host drivers from the group.
    #[error(
        "{address} cannot be given back while its IOMMU group is in use: {by}; end that first, then \
         echo {address} > /sys/bus/pci/drivers/vfio-pci/unbind"
    )]
    GroupInUse {
        /// The function.
        address: PciAddress,
        /// User of the group.
        by: String,
    },
    /// The kernel has no vfio-pci driver.
    #[error("this kernel has no vfio-pci driver: modprobe vfio-pci, or build it with CONFIG_VFIO_PCI")]
    NoVfioPci,
    /// The driver vfio-pci did not bind the function.
    #[error("the driver vfio-pci did not bind {0}: the kernel log (dmesg) has the reason")]
    Refused(PciAddress),
    /// A file of `/sys` could not be written.
    #[error("cannot write {}: {source}; this needs root", path.display())]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
}

/// Failure to open a function.
#[derive(Debug, Error)]
pub enum VfioError {
    /// The function cannot be isolated.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The function is not bound to vfio-pci.
    #[error("{address} is bound to {driver}, not to vfio-pci: bind it first")]
    NotBound {
        /// The function.
        address: PciAddress,
        /// Driver of the function, or "no driver".
        driver: String,
    },
    /// The kernel has no such file of VFIO.
    #[error(
        "{} does not exist: modprobe vfio-pci vfio_iommu_type1, or build the kernel with CONFIG_VFIO",
        .0.display()
    )]
    NoVfio(PathBuf),
    /// A file of VFIO cannot be opened.
    #[error("cannot open {}: {source}; run as root, or let this user read and write it", path.display())]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
    /// Another process uses the function.
    #[error("{address} is in use by another process: `fuser -v {}` names it", path.display())]
    Busy {
        /// The function.
        address: PciAddress,
        /// Path of the file that is busy.
        path: PathBuf,
    },
    /// The function is open in this process.
    #[error("{0} is open already: detach its controller first")]
    AlreadyOpen(PciAddress),
    /// The IOMMU does not remap interrupts, so that a device could raise any interrupt.
    #[error(
        "{0} cannot be isolated: the IOMMU does not remap interrupts; enable it in the firmware (x2APIC), \
         or in QEMU: -device intel-iommu,intremap=on"
    )]
    InterruptsNotRemapped(PciAddress),
    /// The memory in use could not be mapped for the function.
    #[error("cannot map memory for {address}: {source}")]
    Memory {
        /// The function.
        address: PciAddress,
        /// Error of the kernel.
        source: io::Error,
    },
    /// The function has no BAR 0, or one that is too small for an NVMe controller.
    #[error("{0} has no registers: its BAR 0 is missing; the firmware may have had no room for it")]
    NoRegisters(PciAddress),
    /// Another error of the kernel.
    #[error("{address}: {what} failed: {source}")]
    Kernel {
        /// The function.
        address: PciAddress,
        /// Operation.
        what: &'static str,
        /// Error of the kernel.
        source: io::Error,
    },
}

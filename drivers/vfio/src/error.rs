//! Errors of binding and opening PCI functions, as sentences that name the remedy.

use crate::PciAddress;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Error of binding a function to vfio-pci or of giving it back. Nothing has changed then.
#[derive(Debug, Error)]
pub enum BindError {
    /// No function has this address.
    #[error("there is no PCI device {0}: `lspci -D -d ::0108` lists the NVMe controllers")]
    NoSuchDevice(PciAddress),
    /// The function is no NVMe controller.
    #[error("{address} is not an NVMe controller: its PCI class is {class:#08x}, not 0x010802")]
    NotNvme {
        /// Address of the function.
        address: PciAddress,
        /// Class code of the function.
        class: u32,
    },
    /// No IOMMU stands between the function and memory.
    #[error(
        "{0} is behind no IOMMU: enable VT-d or AMD-Vi in the firmware and boot with intel_iommu=on \
         (in QEMU: -device intel-iommu,intremap=on)"
    )]
    NoIommuGroup(PciAddress),
    /// The host uses the SSD.
    #[error("{address} is in use: {by}; unmount or release that first, or choose another SSD")]
    InUse {
        /// Address of the function.
        address: PciAddress,
        /// Use that was found.
        by: String,
    },
    /// The function is bound to a driver that is neither the kernel's NVMe driver nor vfio-pci.
    #[error(
        "{address} is bound to the driver '{driver}': stop what uses it, then \
         echo {address} > /sys/bus/pci/drivers/{driver}/unbind"
    )]
    BoundElsewhere {
        /// Address of the function.
        address: PciAddress,
        /// Name of the driver.
        driver: String,
    },
    /// The IOMMU group has other functions that host drivers use.
    #[error(
        "{address} cannot be isolated: the host uses {others} of the same IOMMU group {group}; \
         unbind what is there (echo ADDRESS > /sys/bus/pci/devices/ADDRESS/driver/unbind) \
         or put the SSD into another slot"
    )]
    GroupNotViable {
        /// Address of the function.
        address: PciAddress,
        /// Number of the IOMMU group.
        group: u32,
        /// Other functions, with their drivers.
        others: String,
    },
    /// An SSD of the same IOMMU group, which would have to go to vfio-pci too, is in use.
    #[error(
        "{address} cannot be isolated: {other} of the same IOMMU group {group} is in use: {by}; \
         unmount or release that first, or put the SSD into another slot"
    )]
    CompanionInUse {
        /// Address of the function.
        address: PciAddress,
        /// Number of the IOMMU group.
        group: u32,
        /// Address of the other SSD.
        other: PciAddress,
        /// Use that was found.
        by: String,
    },
    /// The IOMMU group is still used through VFIO, which allows the group no host driver.
    #[error(
        "{address} cannot be given back while its IOMMU group is in use: {by}; end that first, then \
         echo {address} > /sys/bus/pci/drivers/vfio-pci/unbind"
    )]
    GroupInUse {
        /// Address of the function.
        address: PciAddress,
        /// Process that uses the group.
        by: String,
    },
    /// The kernel has no vfio-pci driver.
    #[error("this kernel has no vfio-pci driver: modprobe vfio-pci, or build it with CONFIG_VFIO_PCI")]
    NoVfioPci,
    /// The driver was asked to take the function and did not.
    #[error("the driver vfio-pci did not take {0}: the kernel log (dmesg) says why")]
    Refused(PciAddress),
    /// A file of `/sys` could not be written.
    #[error("cannot write {}: {source}; this needs root", path.display())]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Error of opening a function.
#[derive(Debug, Error)]
pub enum VfioError {
    /// The function cannot be isolated.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The function is not bound to vfio-pci.
    #[error("{address} is bound to {driver}, not to vfio-pci: bind it first")]
    NotBound {
        /// Address of the function.
        address: PciAddress,
        /// Driver of the function, or "no driver".
        driver: String,
    },
    /// The kernel lacks the file through which VFIO is reached.
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
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another process has the function open.
    #[error("{address} is in use by another process: `fuser -v {}` names it", path.display())]
    Busy {
        /// Address of the function.
        address: PciAddress,
        /// Path of the busy file.
        path: PathBuf,
    },
    /// The function is open in this process already.
    #[error("{0} is open already: detach the controller that has it first")]
    AlreadyOpen(PciAddress),
    /// The IOMMU lets any device raise any interrupt.
    #[error(
        "{0} cannot be isolated: the IOMMU does not remap interrupts; enable it in the firmware (x2APIC), \
         or in QEMU: -device intel-iommu,intremap=on"
    )]
    InterruptsNotRemapped(PciAddress),
    /// Memory could not be mapped for the function.
    #[error("cannot map memory for {address}: {source}")]
    Memory {
        /// Address of the function.
        address: PciAddress,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The function has no BAR 0, or one that is too small for an NVMe controller.
    #[error("{0} has no registers: its BAR 0 is missing; the firmware may have had no room for it")]
    NoRegisters(PciAddress),
    /// Other error of the kernel.
    #[error("{address}: {what} failed: {source}")]
    Kernel {
        /// Address of the function.
        address: PciAddress,
        /// Operation that failed.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

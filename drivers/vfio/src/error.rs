//! Why a PCI function cannot be had: sentences that name the thing and the remedy.

use crate::PciAddress;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a function is not given to vfio-pci, or not given back. Nothing has changed then.
#[derive(Debug, Error)]
pub enum BindError {
    /// There is no such function.
    #[error("there is no PCI device {0}: `lspci -D -d ::0108` lists the NVMe controllers")]
    NoSuchDevice(PciAddress),
    /// It is something else.
    #[error("{address} is not an NVMe controller: its PCI class is {class:#08x}, not 0x010802")]
    NotNvme {
        /// The function.
        address: PciAddress,
        /// Its class code.
        class: u32,
    },
    /// No IOMMU stands between it and memory.
    #[error(
        "{0} is behind no IOMMU: enable VT-d or AMD-Vi in the firmware and boot with intel_iommu=on \
         (in QEMU: -device intel-iommu,intremap=on)"
    )]
    NoIommuGroup(PciAddress),
    /// The host uses what is on it.
    #[error("{address} is in use: {by}; unmount or release that first, or choose another SSD")]
    InUse {
        /// The function.
        address: PciAddress,
        /// Use that was found.
        by: String,
    },
    /// A driver that is neither the kernel's NVMe driver nor vfio-pci has it.
    #[error(
        "{address} is bound to the driver '{driver}': stop what uses it, then \
         echo {address} > /sys/bus/pci/drivers/{driver}/unbind"
    )]
    BoundElsewhere {
        /// The function.
        address: PciAddress,
        /// That driver.
        driver: String,
    },
    /// It shares its IOMMU group with functions that host drivers use.
    #[error(
        "{address} cannot be isolated: the host uses {others} of the same IOMMU group {group}; \
         unbind what is there (echo ADDRESS > /sys/bus/pci/devices/ADDRESS/driver/unbind) \
         or put the SSD into another slot"
    )]
    GroupNotViable {
        /// The function.
        address: PciAddress,
        /// Its IOMMU group.
        group: u32,
        /// The others, with their drivers.
        others: String,
    },
    /// An SSD of the same IOMMU group, which would have to go to vfio-pci too, is in use.
    #[error(
        "{address} cannot be isolated: {other} of the same IOMMU group {group} is in use: {by}; \
         unmount or release that first, or put the SSD into another slot"
    )]
    CompanionInUse {
        /// The function.
        address: PciAddress,
        /// Its IOMMU group.
        group: u32,
        /// The other SSD.
        other: PciAddress,
        /// Use that was found.
        by: String,
    },
    /// Its IOMMU group is still used through VFIO, which allows the group no host driver.
    #[error(
        "{address} cannot be given back while its IOMMU group is in use: {by}; end that first, then \
         echo {address} > /sys/bus/pci/drivers/vfio-pci/unbind"
    )]
    GroupInUse {
        /// The function.
        address: PciAddress,
        /// Who uses the group.
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
        /// That file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Why a function cannot be opened.
#[derive(Debug, Error)]
pub enum VfioError {
    /// It cannot be isolated.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// It is not bound to vfio-pci.
    #[error("{address} is bound to {driver}, not to vfio-pci: bind it first")]
    NotBound {
        /// The function.
        address: PciAddress,
        /// Its driver, or "no driver".
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
        /// That file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{address} is in use by another process: `fuser -v {}` names it", path.display())]
    Busy {
        /// The function.
        address: PciAddress,
        /// The file that is busy.
        path: PathBuf,
    },
    /// This process has it open.
    #[error("{0} is open already: detach the controller that has it first")]
    AlreadyOpen(PciAddress),
    /// The IOMMU lets any device raise any interrupt.
    #[error(
        "{0} cannot be isolated: the IOMMU does not remap interrupts; enable it in the firmware (x2APIC), \
         or in QEMU: -device intel-iommu,intremap=on"
    )]
    InterruptsNotRemapped(PciAddress),
    /// The memory in use could not be mapped for it.
    #[error("cannot map memory for {address}: {source}")]
    Memory {
        /// The function.
        address: PciAddress,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The function has no BAR 0, or one that is too small for an NVMe controller.
    #[error("{0} has no registers: its BAR 0 is missing; the firmware may have had no room for it")]
    NoRegisters(PciAddress),
    /// Anything else the kernel said.
    #[error("{address}: {what} failed: {source}")]
    Kernel {
        /// The function.
        address: PciAddress,
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

//! VFIO containers and iommufd, devices, BARs, interrupts and PCI binding.

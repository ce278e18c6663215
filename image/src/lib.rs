//! Builds the kernel, the initramfs and the bootable disk image.

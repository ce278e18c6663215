//! Boots images and guests in QEMU and tests them from outside.

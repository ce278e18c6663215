//! The VM runner: one supervised QEMU child per VM.

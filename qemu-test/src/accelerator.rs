//! Accelerators of QEMU.

/// Method by which QEMU runs a guest's instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accelerator {
    /// The processor runs them.
    Kvm,
    /// QEMU translates them.
    Tcg,
}

impl Accelerator {
    /// Name in QEMU's options.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// CPU model with all features that the accelerator supports.
    pub(crate) const fn cpu(self) -> &'static str {
        match self {
            Self::Kvm => "host",
            Self::Tcg => "max",
        }
    }

    /// Value of `kernel-irqchip` with which the IOMMU can remap interrupts.
    pub(crate) const fn irqchip_beside_iommu(self) -> &'static str {
        match self {
            Self::Kvm => "split",
            Self::Tcg => "off",
        }
    }

    /// Accelerator of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Kvm, Self::Tcg].into_iter().find(|one| one.name() == name)
    }
}

//! Tabs of the view.

/// Kind of things that are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tab {
    Volumes,
    Ssds,
    Endpoints,
    Vms,
    Cores,
}

impl Tab {
    /// All tabs, in the order of the keys 1 to 5.
    pub(crate) const ALL: [Self; 5] = [Self::Volumes, Self::Ssds, Self::Endpoints, Self::Vms, Self::Cores];

    /// Title.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Volumes => "Volumes",
            Self::Ssds => "SSDs",
            Self::Endpoints => "Endpoints",
            Self::Vms => "VMs",
            Self::Cores => "Cores",
        }
    }
}

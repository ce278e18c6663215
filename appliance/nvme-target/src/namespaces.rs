//! The namespaces of a controller on one core.
//!
//! A table never changes. A namespace that is added, removed or resized makes a new table, which sessions get
//! between two turns.

use crate::commands::CommandStatus;
use crate::ids::NamespaceId;
use luge_block::Geometry;
use luge_volume::{Stats, VolumeId};
use std::sync::Arc;

/// A namespace on one core.
#[derive(Clone)]
pub struct Namespace {
    /// Number of its volume in the core's graph.
    pub volume: VolumeId,
    /// Statistics of the volume on that core.
    pub stats: Arc<Stats>,
    /// Size, limits and abilities of the volume.
    pub geometry: Geometry,
    /// Status with which every command is refused, such as Format in Progress; none for a namespace that is in use.
    pub refusal: Option<CommandStatus>,
}

/// The namespaces of a controller on one core, by their identifiers.
#[derive(Clone, Default)]
pub struct Namespaces(Box<[Option<Namespace>]>);

impl Namespaces {
    /// A table of the namespaces with the identifiers from 1 to NN; none for an identifier that is not active.
    #[must_use]
    pub fn new(namespaces: impl IntoIterator<Item = Option<Namespace>>) -> Self {
        Self(namespaces.into_iter().collect())
    }

    /// An active namespace.
    #[inline]
    #[must_use]
    pub fn get(&self, id: NamespaceId) -> Option<&Namespace> {
        // Identifier zero is that of none, and its index is past the end.
        self.0.get(id.0.wrapping_sub(1) as usize)?.as_ref()
    }

    /// The namespace of a volume.
    pub(crate) fn of_volume(&self, volume: VolumeId) -> Option<&Namespace> {
        self.0.iter().flatten().find(|namespace| namespace.volume == volume)
    }

    /// Identifier of the namespace of a volume.
    pub(crate) fn id_of_volume(&self, volume: VolumeId) -> Option<NamespaceId> {
        let (index, _) = self.from(0).find(|(_, namespace)| namespace.volume == volume)?;
        Some(NamespaceId(u32::try_from(index).ok()?.wrapping_add(1)))
    }

    /// Whether an identifier is one that a namespace can have.
    pub(crate) fn is_valid(&self, id: NamespaceId) -> bool {
        (id.0.wrapping_sub(1) as usize) < self.0.len()
    }

    /// The active namespaces with an index from `first` on, with their indices.
    pub(crate) fn from(&self, first: usize) -> impl Iterator<Item = (usize, &Namespace)> {
        let all = self.0.iter().enumerate().skip(first);
        all.filter_map(|(index, namespace)| Some((index, namespace.as_ref()?)))
    }
}

//! Namespaces of a controller, as its channels see them.
//!
//! Path: session -> volume -> **block to namespace** -> command -> submission ring.
//!
//! A channel has the blocks of all namespaces, each namespace in a window of its own: the bits of a block
//! number from [`WINDOW_BITS`] on are the index of the namespace. No namespace is larger than its window:
//! `format` refuses those that claim to be.
//!
//! ```text
//!   Usable <--------> Excluded    the namespace is not what it was: its requests fail
//!     ^ |             ^
//!     | +--> Waiting -+           it has not been identified since a reset: its requests wait
//!     +---------+
//! ```
//!
//! Not here: the decision (`exclusion`).

use crate::format::{NAMESPACE_BLOCKS_MAX, NamespaceId, NamespaceInfo};
use luge_block::{Geometry, IoErrors, Lba, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Bits of a block number inside a namespace.
pub(crate) const WINDOW_BITS: u32 = NAMESPACE_BLOCKS_MAX.ilog2();

/// Block numbers inside a namespace.
pub(crate) const WINDOW_MASK: u64 = NAMESPACE_BLOCKS_MAX - 1;

/// Values of [`Part::state`] besides the identifiers of namespaces.
const EXCLUDED: u32 = 0;
const WAITING: u32 = u32::MAX;

/// Whether a namespace takes requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Availability {
    Usable(NamespaceId),
    Waiting,
    Excluded,
}

/// A namespace of a controller.
pub(crate) struct Part {
    pub(crate) id: NamespaceId,
    pub(crate) geometry: Geometry,
    pub(crate) errors: Arc<IoErrors>,
    state: AtomicU32,
}

/// Namespaces that could be used at bring-up. Their number and order do not change.
pub(crate) struct Parts(Box<[Part]>);

impl Parts {
    pub(crate) fn new(namespaces: &[NamespaceInfo]) -> Self {
        let part = |info: &NamespaceInfo| Part {
            id: info.id,
            geometry: info.geometry,
            errors: Arc::default(),
            state: AtomicU32::new(info.id.0),
        };
        Self(namespaces.iter().map(part).collect())
    }

    /// All namespaces, in the order of their windows.
    pub(crate) fn all(&self) -> &[Part] {
        &self.0
    }

    /// First block of the window of the namespace with that index.
    pub(crate) fn window(index: usize) -> Lba {
        Lba(u64::try_from(index).unwrap_or(0) << WINDOW_BITS)
    }

    /// Whether the namespace that has a block takes requests.
    #[inline]
    pub(crate) fn access(&self, at: Lba) -> Availability {
        // Relaxed: the value stands alone. After a reset it is set before links become Running, which order it.
        match self.at(at).map_or(EXCLUDED, |part| part.state.load(Relaxed)) {
            EXCLUDED => Availability::Excluded,
            WAITING => Availability::Waiting,
            id => Availability::Usable(NamespaceId(id)),
        }
    }

    /// The namespace that has a block; none for a block that is in no window.
    #[inline]
    pub(crate) fn at(&self, at: Lba) -> Option<&Part> {
        self.0.get(usize::try_from(at.0 >> WINDOW_BITS).ok()?)
    }

    /// The namespace with an identifier.
    pub(crate) fn find(&self, id: u32) -> Option<&Part> {
        self.0.iter().find(|part| part.id.0 == id)
    }

    /// Sets whether a namespace takes requests.
    pub(crate) fn set(&self, id: NamespaceId, access: Availability) {
        let state = match access {
            Availability::Usable(_) => id.0,
            Availability::Waiting => WAITING,
            Availability::Excluded => EXCLUDED,
        };
        self.find(id.0).into_iter().for_each(|part| part.state.store(state, Relaxed));
    }
}

/// Returns the request with blocks that count from the start of its namespace.
#[inline]
pub(crate) fn within_namespace<'a>(request: &Request<'a>) -> Request<'a> {
    Request { lba: Lba(request.lba.0 & WINDOW_MASK), ..*request }
}

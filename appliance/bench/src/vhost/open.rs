//! The beginning with a disk whose rings run: its size.

use super::kind::Kind;
use super::ring::Ring;
use super::talk::Talk;
use crate::error::BenchError;
use luge_spec::virtio::Features;

/// A kind of disk that can be opened.
pub(crate) trait Open: Kind {
    /// Finds the sectors of a disk that fits the options, and prepares its rings for it.
    ///
    /// # Errors
    /// The disk cannot do what is asked, or the server does wrong.
    fn open(talk: &mut Talk<'_>, features: Features, rings: &mut [Ring<Self>]) -> Result<u64, BenchError>;
}

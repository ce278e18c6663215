//! Scatter-gather lists: the data of a command as blocks of any length. Base 2.0, clause 4.1.2.
//!
//! ```text
//! SGL1 --> a data block or bit bucket
//!      \-> segment -> segment -> ... -> last segment, of data blocks and bit buckets
//! ```
//!
//! Data beyond that of the command is allowed (SGLS, bit 18), and not looked at.
//!
//! Invariants
//! - Each descriptor is loaded once.
//! - A walk ends after [`DESCRIPTORS_MAX`] descriptors, so that segments which form a loop end.

use super::collector::{Collector, Stop};
use luge_memory::{GuestAddress, Use};
use luge_spec::nvme::{SglDescriptor, SglType, StatusCode};

/// Most descriptors of a command: about as many as the longest list of a volume has spans. Those of no data count, too.
const DESCRIPTORS_MAX: u32 = 1 << 15;

/// Walk through the SGL of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct SglWalk {
    /// Bytes of the data that were not reached.
    left: u32,
    /// Number of descriptors that there may still be.
    descriptors: u32,
    next: Next,
}

/// Descriptor to look at next.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// SGL1.
    First(SglDescriptor),
    /// A descriptor in a segment.
    Listed(Segment),
    /// None.
    End,
}

/// Rest of a segment: at least a descriptor.
#[derive(Clone, Copy, Debug)]
struct Segment {
    at: GuestAddress,
    bytes: u32,
    is_last: bool,
}

impl SglWalk {
    /// A walk to the first `bytes` bytes.
    pub(super) const fn new(first: SglDescriptor, bytes: u32) -> Self {
        Self { left: bytes, descriptors: DESCRIPTORS_MAX, next: Next::First(first) }
    }

    /// Walks on, as many steps as the collector makes; returns whether that was the end.
    ///
    /// # Errors
    /// [`Stop`].
    pub(super) fn step(&mut self, collector: &mut Collector<'_, '_, '_>) -> Result<bool, Stop> {
        while self.left > 0 {
            if !collector.make_step() {
                return Ok(false);
            }
            let left = self.descriptors.checked_sub(1);
            self.descriptors = left.ok_or(Stop::refused(StatusCode::INVALID_SGL_COUNT))?;
            if let Some(block) = self.follow(collector)? {
                self.add(block, collector)?;
            }
        }
        Ok(true)
    }

    /// Follows a descriptor; returns it, if it is of data and not of a segment.
    fn follow(&mut self, collector: &mut Collector<'_, '_, '_>) -> Result<Option<SglDescriptor>, Stop> {
        match self.next {
            Next::First(descriptor) if is_segment(descriptor) => {
                self.next = Next::Listed(Segment::named_by(descriptor)?);
                Ok(None)
            }
            Next::First(descriptor) => {
                self.next = Next::End;
                Ok(Some(descriptor))
            }
            Next::Listed(segment) => self.follow_listed(segment, collector),
            Next::End => Err(Stop::refused(StatusCode::DATA_SGL_LENGTH_INVALID)),
        }
    }

    fn follow_listed(
        &mut self,
        segment: Segment,
        collector: &mut Collector<'_, '_, '_>,
    ) -> Result<Option<SglDescriptor>, Stop> {
        let descriptor: SglDescriptor = zerocopy::transmute!(collector.load::<16>(segment.at)?);
        let rest = segment.rest();
        // A segment is linked by the last descriptor of one that is not the last, and by no other.
        let links = rest.is_none() && !segment.is_last;
        if is_segment(descriptor) != links {
            return Err(Stop::refused(StatusCode::INVALID_SGL_SEGMENT));
        }
        if links {
            self.next = Next::Listed(Segment::named_by(descriptor)?);
            return Ok(None);
        }
        self.next = rest.map_or(Next::End, Next::Listed);
        Ok(Some(descriptor))
    }

    /// Adds the data of a descriptor.
    fn add(&mut self, descriptor: SglDescriptor, collector: &mut Collector<'_, '_, '_>) -> Result<(), Stop> {
        check_subtype(descriptor)?;
        let len = descriptor.length.min(self.left);
        match descriptor.kind() {
            SglType::DATA_BLOCK if len == 0 => Ok(()),
            SglType::DATA_BLOCK => {
                self.left = self.left.wrapping_sub(len);
                collector.add(GuestAddress(descriptor.address), len)
            }
            // A bit bucket has no data to be read by the device.
            SglType::BIT_BUCKET if collector.purpose() == Use::Read => Ok(()),
            SglType::BIT_BUCKET => {
                self.left = self.left.wrapping_sub(len);
                collector.add_unwanted(len)
            }
            _ => Err(Stop::refused(StatusCode::SGL_TYPE_INVALID)),
        }
    }
}

impl Segment {
    /// The segment that a descriptor names.
    fn named_by(descriptor: SglDescriptor) -> Result<Self, Stop> {
        check_subtype(descriptor)?;
        let SglDescriptor { address, length, .. } = descriptor;
        let whole = length > 0 && length.is_multiple_of(SglDescriptor::BYTES) && address.is_multiple_of(8);
        let is_last = descriptor.kind() == SglType::LAST_SEGMENT;
        let segment = Self { at: GuestAddress(address), bytes: length, is_last };
        if whole { Ok(segment) } else { Err(Stop::refused(StatusCode::INVALID_SGL_SEGMENT)) }
    }

    /// The segment after its first descriptor; none if that is the last.
    fn rest(self) -> Option<Self> {
        let bytes = self.bytes.checked_sub(SglDescriptor::BYTES).filter(|&bytes| bytes > 0)?;
        let at = GuestAddress(self.at.0.wrapping_add(SglDescriptor::BYTES.into()));
        Some(Self { at, bytes, ..self })
    }
}

fn is_segment(descriptor: SglDescriptor) -> bool {
    matches!(descriptor.kind(), SglType::SEGMENT | SglType::LAST_SEGMENT)
}

/// Refuses an address that is none: an offset, or of another transport.
fn check_subtype(descriptor: SglDescriptor) -> Result<(), Stop> {
    if descriptor.subtype() == 0 { Ok(()) } else { Err(Stop::refused(StatusCode::SGL_TYPE_INVALID)) }
}

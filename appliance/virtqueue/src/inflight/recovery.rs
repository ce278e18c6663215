//! The start of a tracked queue: from what an earlier process has left in the region and in the ring.
//!
//! ```text
//!  (1) region read --version 0: no process has used it--> (5), the ring as its front end says
//!  (1) region read --the ring has no chain outstanding--> (5), nothing in flight
//!  (1) region read --chains outstanding--> (2)
//!  (2) last batch  --`used_idx` is not that of the ring: the batch was published--> its chains are not in flight
//!  (2) last batch  --equal: it was not, or its chains are marked already--> (3)
//!  (3) the others  --sorted by counter--> (4) to be taken again, before anything new
//!  (4), (5)        --marks and header written--> tracked
//! ```
//!
//! Invariant: nothing is written before all was checked, and a process that is killed in the middle of it
//! leaves what leads the next one to the same result.

use super::{Inflight, InflightRegion};
use crate::batch::Head;
use crate::layout::QueueSize;
use luge_spec::vhost_user::{DescriptorState, INFLIGHT_VERSION, InflightHeader};
use thiserror::Error;

/// Why chains in flight cannot be taken up.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InflightError {
    /// The part of a queue is not inside the region, or not aligned.
    #[error("the in-flight region is too short, or not aligned to 8 bytes")]
    Shape,
    /// The layout is unknown.
    #[error(
        "the in-flight region has version {version} and features {features:#x}, of which nothing is known"
    )]
    Layout {
        /// Version in the region.
        version: u16,
        /// Features in the region.
        features: u64,
    },
    /// The region is for queues of another size.
    #[error("the in-flight region is for {region} descriptors a queue, the ring has {ring}")]
    Size {
        /// Descriptors in the region.
        region: u16,
        /// Descriptors of the ring.
        ring: u16,
    },
    /// A link of the last batch, or a chain in flight, is past the end.
    #[error("the in-flight region names chain {0}, which the ring does not have")]
    Head(u16),
    /// More chains are in flight than the driver waits for.
    #[error("the in-flight region has {inflight} chains in flight, the driver waits for {outstanding} only")]
    TooMany {
        /// Chains in flight.
        inflight: usize,
        /// Chains that were made available and not used.
        outstanding: u16,
    },
}

/// A ring as its memory says, when it is started.
#[derive(Clone, Copy)]
pub(crate) struct RingState {
    pub(crate) size: QueueSize,
    /// Indices of the available and the used ring.
    pub(crate) available: u16,
    pub(crate) used: u16,
}

impl RingState {
    /// Chains that the driver waits for.
    fn outstanding(&self) -> u16 {
        self.available.wrapping_sub(self.used)
    }
}

/// What a region says of its ring.
struct Left {
    header: InflightHeader,
    states: Vec<DescriptorState>,
}

impl Inflight {
    /// Takes up a ring. The second part is the available index of the next chain that is new; none if it is for the front end to say.
    ///
    /// # Errors
    /// [`InflightError`]: nothing was written then.
    pub(crate) fn resume(
        region: InflightRegion,
        ring: &RingState,
    ) -> Result<(Self, Option<u16>), InflightError> {
        let left = Left::load(&region, ring)?;
        let used_before = left.header.version.get() != 0;
        let inflight = if used_before && ring.outstanding() > 0 { left.inflight(ring)? } else { Vec::new() };
        let last = Head(left.header.last_batch_head.get() % ring.size.get());
        let counter = inflight.last().map_or(0, |&(counter, _)| counter.wrapping_add(1));
        let mut resubmits: Vec<Head> = inflight.into_iter().map(|(_, head)| head).collect();
        let next = ring.used.wrapping_add(u16::try_from(resubmits.len()).unwrap_or(0));
        left.store(&region, (ring, last), &resubmits);
        resubmits.reverse();
        let completed = vec![Head(0); ring.size.get().into()].into_boxed_slice();
        let inflight = Self { region, counter, last, completed, resubmits };
        Ok((inflight, used_before.then_some(next)))
    }
}

impl Left {
    /// (1): a copy of the region.
    fn load(region: &InflightRegion, ring: &RingState) -> Result<Self, InflightError> {
        let (header, desc_num) = (region.fields.header(), region.fields.desc_num);
        let (version, features) = (header.version.get(), header.features.get());
        if features != 0 || version > INFLIGHT_VERSION {
            return Err(InflightError::Layout { version, features });
        }
        let (in_region, in_ring) = (header.desc_num.get(), ring.size.get());
        let in_region = if version == 0 { desc_num } else { in_region };
        if desc_num < in_ring || in_region != desc_num {
            return Err(InflightError::Size { region: in_region, ring: in_ring });
        }
        let states = (0..desc_num).map(|head| region.fields.state(Head(head))).collect();
        Ok(Self { header, states })
    }

    /// (2) and (3): the chains in flight and their counters, in the order in which they were taken.
    fn inflight(&self, ring: &RingState) -> Result<Vec<(u64, Head)>, InflightError> {
        let mut marks: Vec<bool> = self.states.iter().map(|state| state.inflight != 0).collect();
        for head in self.last_batch(ring) {
            *marks.get_mut(usize::from(head?.0)).ok_or(InflightError::Shape)? = false;
        }
        let heads = (0..).map(Head).zip(&self.states).zip(marks).filter(|&(_, mark)| mark);
        let mut inflight: Vec<_> = heads.map(|((head, state), _)| (state.counter.get(), head)).collect();
        inflight.sort_unstable_by_key(|&(counter, head)| (counter, head.0));
        let outstanding = ring.outstanding();
        if inflight.len() > outstanding.into() {
            return Err(InflightError::TooMany { inflight: inflight.len(), outstanding });
        }
        match inflight.iter().find(|(_, head)| head.0 >= ring.size.get()) {
            Some((_, head)) => Err(InflightError::Head(head.0)),
            None => Ok(inflight),
        }
    }

    /// The chains of the last batch, if it was published and its marks may still be there.
    ///
    /// A batch is no longer than its ring. Where `used_idx` says so, it was never written for this ring
    /// (a region that another back-end began in the middle of a ring's life), and nothing was published.
    fn last_batch(&self, ring: &RingState) -> impl Iterator<Item = Result<Head, InflightError>> {
        let published = ring.used.wrapping_sub(self.header.used_idx.get());
        let len = if published > ring.size.get() { 0 } else { published.into() };
        let first = self.header.last_batch_head.get();
        let link = |&head: &u16| Some(self.states.get(usize::from(head))?.next.get());
        let heads = std::iter::successors(Some(first), link).take(len);
        heads.map(|head| if head < ring.size.get() { Ok(Head(head)) } else { Err(InflightError::Head(head)) })
    }

    /// (4) and (5): only these chains are marked from now on, and the ring's index is noted.
    fn store(&self, region: &InflightRegion, (ring, last): (&RingState, Head), inflight: &[Head]) {
        let mut marks = vec![false; self.states.len()];
        for head in inflight {
            marks.get_mut(usize::from(head.0)).into_iter().for_each(|mark| *mark = true);
        }
        for ((head, state), mark) in (0..).map(Head).zip(&self.states).zip(marks) {
            if state.inflight != 0 && !mark {
                region.fields.end(head, Head(state.next.get()));
            }
        }
        region.fields.set_header(InflightHeader {
            features: 0.into(),
            version: INFLIGHT_VERSION.into(),
            desc_num: region.fields.desc_num.into(),
            last_batch_head: last.0.into(),
            used_idx: ring.used.into(),
        });
    }
}

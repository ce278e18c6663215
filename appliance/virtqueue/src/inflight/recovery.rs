//! The start of a tracked queue from the region and the ring that an earlier process has left.
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

use super::error::InflightError;
use super::region::InflightRegion;
use crate::chain::Head;
use crate::layout::QueueSize;
use luge_spec::vhost_user::{DescriptorState, INFLIGHT_VERSION, InflightHeader};

/// Size of a ring, and its indices in guest memory when it is started.
#[derive(Clone, Copy)]
pub(crate) struct RingIndices {
    pub(crate) size: QueueSize,
    /// Indices of the available and the used ring.
    pub(crate) available: u16,
    pub(crate) used: u16,
}

impl RingIndices {
    /// Chains that the driver waits for.
    fn outstanding(&self) -> u16 {
        self.available.wrapping_sub(self.used)
    }
}

/// State in which a tracked queue starts.
pub(super) struct Start {
    /// The counter of the next chain.
    pub(super) counter: u64,
    /// The chain that was completed last.
    pub(super) last: Head,
    /// Chains to be taken again, in their order.
    pub(super) resubmits: Vec<Head>,
    /// The available index of the next chain that is new; none where the front end says it.
    pub(super) next_available: Option<u16>,
}

/// Resumes a ring, and writes its new state to the region.
///
/// # Errors
/// [`InflightError`]: nothing was written then.
pub(super) fn resume(region: &InflightRegion, ring: &RingIndices) -> Result<Start, InflightError> {
    let left = Left::load(region, ring)?;
    let used_before = left.header.version.get() != 0;
    let inflight = if used_before && ring.outstanding() > 0 { left.inflight(ring)? } else { Vec::new() };
    let last = Head(ring.size.within(left.header.last_batch_head.get()));
    let counter = inflight.last().map_or(0, |&(counter, _)| counter.wrapping_add(1));
    let resubmits: Vec<Head> = inflight.into_iter().map(|(_, head)| head).collect();
    left.unmark_others(region, &resubmits);
    region.fields.set_header(InflightHeader {
        features: 0.into(),
        version: INFLIGHT_VERSION.into(),
        desc_num: region.fields.desc_num.into(),
        last_batch_head: last.0.into(),
        used_idx: ring.used.into(),
    });
    let taken = ring.used.wrapping_add(u16::try_from(resubmits.len()).unwrap_or(0));
    Ok(Start { counter, last, resubmits, next_available: used_before.then_some(taken) })
}

/// Contents of a region that an earlier process has left.
struct Left {
    header: InflightHeader,
    states: Vec<DescriptorState>,
}

impl Left {
    /// (1): a copy of the region.
    fn load(region: &InflightRegion, ring: &RingIndices) -> Result<Self, InflightError> {
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
    fn inflight(&self, ring: &RingIndices) -> Result<Vec<(u64, Head)>, InflightError> {
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
    fn last_batch(&self, ring: &RingIndices) -> impl Iterator<Item = Result<Head, InflightError>> {
        let published = ring.used.wrapping_sub(self.header.used_idx.get());
        let len = if published > ring.size.get() { 0 } else { published.into() };
        let first = self.header.last_batch_head.get();
        let link = |&head: &u16| Some(self.states.get(usize::from(head))?.next.get());
        let heads = std::iter::successors(Some(first), link).take(len);
        heads.map(|head| if head < ring.size.get() { Ok(Head(head)) } else { Err(InflightError::Head(head)) })
    }

    /// (4) and (5): only these chains are marked from now on.
    fn unmark_others(&self, region: &InflightRegion, inflight: &[Head]) {
        let mut marks = vec![false; self.states.len()];
        for head in inflight {
            marks.get_mut(usize::from(head.0)).into_iter().for_each(|mark| *mark = true);
        }
        for ((head, state), mark) in (0..).map(Head).zip(&self.states).zip(marks) {
            if state.inflight != 0 && !mark {
                region.fields.unmark(head, Head(state.next.get()));
            }
        }
    }
}

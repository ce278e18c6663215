//! The slow path of a take: general walks, and searches in chains at fault, within a budget.
//!
//! Path: guest ring -> **here** -> session.
//!
//! Invariant: a take walks and searches about as many descriptors of such chains as it is allowed
//! ([`crate::Batch::allow`]), so that a guest with endless chains does not delay the others of its core.

use crate::QueueSize;
use crate::batch::STEPS_MAX;
use crate::chain::{Extent, Fault};
use crate::descriptor::{RawDescriptor, Table};
use crate::ending::{ChainStart, Search};
use crate::general_walk::{GeneralWalk, Stop};

use luge_memory::{Lookup, Span};

/// Chains of one take at which the fast walk has given up.
pub(crate) struct SlowPath<'a> {
    ring: &'a Table,
    size: QueueSize,
    /// List for the spans of the chains; the first `used` are in use.
    spans: &'a mut [Span],
    used: usize,
    /// Descriptors after which the take ends.
    allowed: usize,
    /// Descriptors walked and searched so far, and spans of buffers that lie across regions.
    steps: usize,
    /// Spans of a long chain, as far as it was walked.
    beginning: Extent,
    search: &'a mut Search,
}

impl<'a> SlowPath<'a> {
    /// The slow path of a new take: no chain yet.
    pub(crate) fn new(
        ring: &'a Table,
        size: QueueSize,
        spans: &'a mut [Span],
        search: &'a mut Search,
        allowed: usize,
    ) -> Self {
        Self { ring, size, spans, used: 0, allowed, steps: 0, beginning: Extent::default(), search }
    }

    /// Descriptors walked and searched so far.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// Spans of the chain at which the last walk ended early, as far as it was walked.
    pub(crate) fn beginning(&self) -> Extent {
        self.beginning
    }

    /// Walks a chain, and returns its fault and extent. Of a chain at fault, the extent is the place of the
    /// response.
    ///
    /// # Errors
    /// [`Stop`]: the batch has no room for the chain, the budget of this take is used up, or the chain is too
    /// long for any take.
    #[cold]
    pub(crate) fn walk(
        &mut self,
        ChainStart { index, head, descriptor }: ChainStart,
        lookup: &mut Lookup<'_>,
    ) -> Result<(Option<Fault>, Extent), Stop> {
        let fault = match self.search.fault(index) {
            Some(fault) => fault,
            None => match self.walk_whole(descriptor, lookup) {
                Ok(extent) => return Ok((None, extent)),
                Err(stop @ (Stop::Full | Stop::Long(_))) => return Err(stop),
                Err(Stop::Fault(fault)) => {
                    self.search.start(fault, ChainStart { index, head, descriptor });
                    fault
                }
            },
        };
        Ok((Some(fault), self.find_response(lookup)?))
    }

    /// Walks a chain from its first descriptor to its end.
    #[inline]
    fn walk_whole(&mut self, descriptor: RawDescriptor, lookup: &mut Lookup<'_>) -> Result<Extent, Stop> {
        if self.steps >= self.allowed {
            return Err(Stop::Full);
        }
        let (first, extra) = (self.used, self.spans.len());
        let mut walk = GeneralWalk {
            lookup,
            spans: self.spans,
            first,
            end: first,
            writable: None,
            steps: STEPS_MAX,
            extra,
            bytes: 0,
            longest: self.size.get().into(),
        };
        let mut outcome = walk.run(self.ring, descriptor);
        if outcome == Err(Stop::Fault(Fault::Steps)) && walk.longest > STEPS_MAX.into() {
            outcome = Err(Stop::Long(walk.longest));
        }
        // A walk takes from both numbers only, and they are small.
        let (steps, extra) = (STEPS_MAX.wrapping_sub(walk.steps), extra.wrapping_sub(walk.extra));
        self.steps = self.steps.wrapping_add(steps.into()).wrapping_add(extra).wrapping_add(1);
        let extent = walk.extent();
        if outcome.is_err() {
            self.beginning = extent;
        }
        outcome?;
        self.used = extent.end;
        Ok(extent)
    }

    /// Continues the search for a chain's response, which becomes its only spans.
    #[cold]
    fn find_response(&mut self, lookup: &mut Lookup<'_>) -> Result<Extent, Stop> {
        let first = self.used;
        let places = self.spans.get_mut(first..).filter(|places| !places.is_empty()).ok_or(Stop::Full)?;
        // As many as a walk may take, at least: most searches then end in the take that began them.
        let most = self.allowed.saturating_sub(self.steps).max(STEPS_MAX.into());
        let mut left = most;
        let found = self.search.run(lookup, self.ring, &mut left, places);
        self.steps = self.steps.saturating_add(most.saturating_sub(left));
        self.used = first.saturating_add(found?);
        Ok(Extent { first, writable: first, end: self.used })
    }
}

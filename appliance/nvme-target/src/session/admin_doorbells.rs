//! Shadow doorbells of the admin queues.
//!
//! Base 2.0 has them for all queues, and some drivers use them so (libvfn). Linux, SPDK and others ring the registers of
//! the admin queues all the same. Therefore the registers count until the host has stored a tail in the shadow doorbell.

use super::offered_doorbells::OfferedDoorbells;
use super::queue_session::QueueSession;
use super::setup::Service;
use crate::ids::QueueId;
use crate::queues::ShadowDoorbells;

impl QueueSession {
    /// Uses shadow doorbells, or the registers again; returns the shadow doorbells before. They get the values that the
    /// host has told so far. Those of the admin queues are only offered.
    pub fn replace_doorbells(&mut self, shadow: Option<ShadowDoorbells>) -> Option<ShadowDoorbells> {
        if self.service == Service::Admin && !self.doorbells.are_shadow() {
            return self.offer_doorbells(shadow);
        }
        let before = self.doorbells.replace_shadow(shadow);
        let Self { doorbells, completion, queues, .. } = self;
        completion.replace_doorbell(doorbells);
        queues.iter_mut().flatten().for_each(|queue| queue.replace_doorbell(doorbells));
        before
    }

    /// Uses the same shadow doorbells in another table of memory; returns those before. Nothing is stored there: the host
    /// may be storing, too.
    pub fn move_doorbells(&mut self, shadow: ShadowDoorbells) -> Option<ShadowDoorbells> {
        if let Some(offered) = &mut self.offered_doorbells {
            let before = offered.doorbells.replace_shadow(Some(shadow));
            offered.tail = offered.doorbells.tail(QueueId::ADMIN).unwrap_or(offered.tail);
            return before;
        }
        let before = self.doorbells.replace_shadow(Some(shadow));
        self.follow_doorbells();
        before
    }

    fn follow_doorbells(&mut self) {
        let Self { doorbells, completion, queues, .. } = self;
        completion.follow_doorbell(doorbells);
        queues.iter_mut().flatten().for_each(|queue| queue.follow_doorbell(doorbells));
    }

    fn offer_doorbells(&mut self, shadow: Option<ShadowDoorbells>) -> Option<ShadowDoorbells> {
        let before = self.offered_doorbells.take();
        let doorbells = self.doorbells.with_shadow(shadow);
        let Self { completion, queues, .. } = self;
        if let (Some(head), Some(tail)) = (doorbells.head(QueueId::ADMIN), doorbells.tail(QueueId::ADMIN))
            && let Some(queue) = queues.iter_mut().flatten().next()
            && doorbells.are_shadow()
        {
            completion.pass_head_on(head);
            let first = queue.pass_tail_on(tail);
            self.offered_doorbells = Some(OfferedDoorbells { doorbells, tail, first });
        }
        before.and_then(|mut before| before.doorbells.replace_shadow(None))
    }

    /// Uses the shadow doorbells that were offered, once the host does.
    #[cold]
    pub(super) fn look_at_offered_doorbells(&mut self) {
        if let Some(offered) = self.offered_doorbells.take_if(|offered| offered.are_used()) {
            self.doorbells = offered.doorbells;
            self.follow_doorbells();
        }
    }
}

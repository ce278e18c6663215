//! Changes of a session by the adapter's thread, as tasks between two turns. Whatever is replaced comes back, so that a
//! core drops nothing.

use super::cancellations::Cancellation;
use super::request_session::RequestSession;
use super::slots::Mark;
use crate::scsi::cancel::{Cancelled, CancelledAs, Scope};
use crate::scsi::drain::Drain;
use crate::scsi::lun::{LunAddress, LunPlace};
use crate::scsi::request;
use crate::scsi::table::LunTable;
use luge_virtqueue::BATCH;
use std::sync::Arc;

impl RequestSession {
    /// Uses another table of LUNs, for all requests that no volume has yet; returns the one before.
    pub fn replace_table(&mut self, table: Arc<LunTable>) -> Option<Arc<LunTable>> {
        self.table.replace(table)
    }

    /// Ends the requests of a scope that were made available until now, as soon as nothing uses their memory; those that
    /// no volume has and that were not relayed do not begin. For [`CancelledAs::Nothing`], only those count that began.
    pub fn cancel(&mut self, scope: Scope, end: CancelledAs, drain: Arc<Drain>) -> Cancelled {
        if self.cancellations.is_full() {
            return Cancelled::Full(drain);
        }
        let covers_unread = end != CancelledAs::Nothing;
        let batch = if covers_unread { self.left } else { 0 };
        let ring = if covers_unread { self.queue.waiting() } else { 0 };
        let first = self.slots.await_all(scope, end);
        self.await_pending(scope, end);
        if covers_unread {
            self.parked.urge(scope);
        }
        let cursor = first.unwrap_or(usize::MAX);
        let mut cancellation = Cancellation { scope, end, batch, ring, cursor, drain };
        if self.is_over(&mut cancellation) {
            return Cancelled::Over(cancellation.drain);
        }
        self.cancellations.add(cancellation);
        Cancelled::Waiting
    }

    fn await_pending(&mut self, scope: Scope, end: CancelledAs) {
        let pending = self.pending.as_mut().map(|pending| &mut pending.identity);
        for identity in pending.into_iter().filter(|identity| identity.is_in(scope)) {
            identity.awaited = true;
            if identity.mark == Mark::None {
                identity.mark = end.into();
            }
        }
    }

    /// Whether all requests of a cancellation have ended.
    fn is_over(&self, cancellation: &mut Cancellation) -> bool {
        let Cancellation { scope, batch, ring, ref mut cursor, .. } = *cancellation;
        let mut pending = self.pending.iter().map(|pending| &pending.identity);
        if batch & self.left != 0
            || ring > 0
            || pending.any(|identity| identity.awaited && identity.is_in(scope))
            || self.walks_in(scope)
            || self.unparked.is_some_and(|identity| identity.awaited && identity.is_in(scope))
        {
            return false;
        }
        let next = self.slots.next_awaited(scope, *cursor);
        *cursor = next.unwrap_or(usize::MAX);
        next.is_none()
    }

    /// Whether a long chain is being walked into a list of a LUN of a scope.
    fn walks_in(&self, scope: Scope) -> bool {
        let long = self.long.as_ref().filter(|long| long.list.is_some());
        let header = long.and_then(|long| long.header.as_ref());
        header.is_some_and(|header| {
            let place = LunPlace::parse(header.lun).unwrap_or(LunPlace::ReportLuns(None));
            scope.has(place, header.tag.get())
        })
    }

    /// Drops the tokens of the cancellations that are over, and rings the bell then. The guest has been shown all requests
    /// that have ended.
    #[cold]
    pub(super) fn settle(&mut self) {
        let mut cancellations = self.cancellations.take();
        if cancellations.settle(|cancellation| self.is_over(cancellation)) {
            self.relay.ring();
        }
        self.cancellations = cancellations;
    }

    /// Whether a request with that tag, to that LUN, was taken and has not ended.
    #[must_use]
    pub fn is_in_flight(&mut self, lun: LunAddress, tag: u64) -> bool {
        self.has(Scope::Task { lun, tag })
    }

    /// Whether a request to that LUN was taken and has not ended.
    #[must_use]
    pub fn has_any(&mut self, lun: LunAddress) -> bool {
        self.has(Scope::Lun(lun))
    }

    fn has(&mut self, scope: Scope) -> bool {
        self.slots.any(scope)
            || self.pending.as_ref().is_some_and(|pending| pending.identity.is_in(scope))
            || (0..BATCH).any(|index| self.is_unread_in(index, scope))
    }

    /// Whether chain `index` of the batch is unread and in a scope.
    fn is_unread_in(&mut self, index: usize, scope: Scope) -> bool {
        let is_left = self.left & super::chains::bit(index) != 0;
        let header = if is_left { self.header_of(index) } else { None };
        let of = header.and_then(|header| Some((LunPlace::parse(header.lun)?, header.tag.get())));
        of.is_some_and(|(place, tag)| scope.has(place, tag))
    }

    pub(super) fn header_of(&mut self, index: usize) -> Option<luge_spec::virtio::scsi::RequestHeader> {
        if self.batch.is_long(index) {
            return request::peek(self.batch.beginning(index));
        }
        request::peek(self.batch.chain(index)?.readable)
    }
}

//! Runs that end within the call: of devices that need no time.
//!
//! Such requests have no completions, so their tags need not name a slot of their session.

use super::End;
use super::run::Run;
use crate::clock::ticks;
use luge_block::{CheckedTransfer, Refusal};

impl<'data> Run<'_, '_, 'data> {
    /// Whether a run of about `count` requests is to be done by [`Self::serve`].
    #[inline]
    #[must_use]
    pub fn ends_at_once(&self, count: usize) -> bool {
        let End::Channel { opened, .. } = &self.volume.0 else { return false };
        opened.channel.at_once_min().is_some_and(|least| count >= least)
    }

    /// Does requests in order, up to the first one that is refused or fails; returns why, if there is one: it is to be
    /// submitted by itself. Calls `ended` with those that have ended with success, if the run has any request, and counts
    /// them afterwards: nobody waits for that. Leaves none.
    #[inline(always)]
    pub fn serve(&mut self, ended: impl FnOnce(&[CheckedTransfer<'data>])) -> Option<Refusal> {
        let Self { volume, requests, .. } = self;
        if requests.is_empty() {
            return None;
        }
        let begun = volume.now();
        let End::Channel { volume, opened, .. } = &mut volume.0 else { return Some(Refusal::Full) };
        let (count, refusal) = opened.channel.serve_all(requests);
        let served = requests.get(..count).unwrap_or(requests);
        ended(served);
        volume.count_served(served, begun, ticks());
        requests.clear();
        refusal
    }
}

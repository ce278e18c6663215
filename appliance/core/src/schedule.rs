//! The order in which tenants have their turn, and the work that a turn may do.
//!
//! Deficit round robin: each visit adds a quantum of work to a tenant's credit, which its sessions use up. A turn ends
//! when every tenant was visited, or enough was done; the next turn goes on where this one ended. So each tenant with
//! work gets an equal part of the core's work, whatever number of rings it has and whatever they ask for.
//!
//! All tenants have the same quantum. Weights would be factors of it.

use crate::account::Account;
use crate::session::SessionId;
use crate::sessions::Sessions;
use crate::share::Share;
use luge_volume::{Graph, Ticks, Work};
use std::sync::Arc;

/// The shares of a core's tenants.
#[derive(Default)]
pub(crate) struct Schedule {
    shares: Vec<Share>,
    /// The share that is first in the next turn.
    first: usize,
}

impl Schedule {
    /// Adds a session to the share of the tenant that has this account.
    pub(crate) fn add(&mut self, id: SessionId, account: Arc<Account>) {
        let share = self.shares.iter_mut().find(|share| Arc::ptr_eq(&share.account, &account));
        match share {
            Some(share) => share.add(id),
            None => {
                let mut share = Share::new(account);
                share.add(id);
                self.shares.push(share);
            }
        }
    }

    /// Takes a session out of its share, and the share out that has none left.
    pub(crate) fn remove(&mut self, id: SessionId) {
        self.shares.iter_mut().for_each(|share| share.remove(id));
        self.shares.retain(|share| !share.is_empty());
    }

    /// Looks at all idle sessions in the next turn.
    pub(crate) fn wake(&mut self) {
        self.shares.iter_mut().for_each(Share::wake);
    }

    /// Lets sessions take requests. `now` is the time at which the turn began. Returns whether any did.
    #[inline]
    pub(crate) fn take(&mut self, sessions: &mut Sessions, graph: &mut Graph, mut now: Ticks) -> bool {
        let count = self.shares.len();
        let (mut at, mut done) = (self.first, Work::default());
        for _ in 0..count {
            at = if at < count { at } else { 0 };
            let Some(share) = self.shares.get_mut(at) else { break };
            at = at.wrapping_add(1);
            let work = share.visit(sessions, graph);
            if work > Work::default() {
                now = share.charge(work, now);
                done += work;
                if done >= Work::TURN {
                    self.first = at;
                    return true;
                }
            }
        }
        self.first = self.first.wrapping_add(1);
        self.first = if self.first < count { self.first } else { 0 };
        done > Work::default()
    }
}

//! The members of a source, as the control plane adds and removes them.

use super::member::{Member, Peer, Tickets, link};
use super::signal::Signal;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The locks on the blocks of one source.
#[derive(Default)]
pub(crate) struct Locks {
    tickets: Arc<Tickets>,
    members: Mutex<Members>,
}

impl Locks {
    /// Adds a member with these blocks of the source, on the core of `signal`.
    pub(crate) fn join(self: &Arc<Self>, blocks: Range<u64>, signal: &Arc<Signal>) -> Membership {
        let member = Arc::new(Member::new(self.tickets.clone(), blocks, signal.clone()));
        let mut members = self.members();
        members.overlapping(member.blocks()).for_each(|other| link(other, &member));
        let key = members.add(member.clone());
        drop(members);
        Membership { locks: self.clone(), member, key }
    }

    /// Removes a member, which uses no blocks any more.
    fn leave(&self, member: &Arc<Member>, key: Key) {
        let mut members = self.members();
        members.by_key.remove(&key);
        let peers = std::mem::take(&mut *member.peers_mut());
        peers.iter().for_each(|Peer { member: other, .. }| other.forget(member));
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Place of a member in the order of all: those of about the same length are together, in the order of their blocks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Power of two of the number of blocks.
    length: u32,
    first: u64,
    /// Ordinal of the member.
    ordinal: u64,
}

/// The members of a source.
#[derive(Default)]
struct Members {
    by_key: BTreeMap<Key, Arc<Member>>,
    /// Number of all members so far.
    count: u64,
}

impl Members {
    fn add(&mut self, member: Arc<Member>) -> Key {
        self.count += 1;
        let key = Key { length: length_of(member.blocks()), first: member.first(), ordinal: self.count };
        self.by_key.insert(key, member);
        key
    }

    /// Members that have some of these blocks. Looks at few others: of each length, only at those that begin so near that
    /// the longest of them would reach the blocks.
    fn overlapping(&self, blocks: &Range<u64>) -> impl Iterator<Item = &Arc<Member>> {
        let near = move |length: u32| {
            let longest = u64::MAX >> (u64::BITS - 1 - length);
            let from = Key { length, first: blocks.start.saturating_sub(longest), ordinal: 0 };
            self.by_key.range(from..Key { length, first: blocks.end, ordinal: 0 })
        };
        let all = (0..u64::BITS).flat_map(near).map(|(_, member)| member);
        all.filter(|member| member.blocks().end > blocks.start)
    }
}

/// Power of two of the number of blocks, of which there is one at least.
fn length_of(blocks: &Range<u64>) -> u32 {
    (blocks.end.saturating_sub(blocks.start) | 1).ilog2()
}

/// A volume's place among those that lock blocks, for as long as a core has the volume. Dropped by the control
/// plane.
pub struct Membership {
    locks: Arc<Locks>,
    member: Arc<Member>,
    key: Key,
}

impl Membership {
    /// The member.
    #[must_use]
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.locks.leave(&self.member, self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locks::Wake;
    use luge_seeded::Random;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(&self) {}
    }

    /// Blocks of a member, or of a whole source, by chance.
    fn some_blocks(random: &mut Random) -> Range<u64> {
        let first = random.below(1000_u64);
        let doubling = random.below(10_u32);
        match random.below(8_u32) {
            0 => 0..u64::MAX,
            1 => u64::MAX - 1 - first..u64::MAX - first,
            _ => first..first + 1 + random.below(1_u64 << doubling),
        }
    }

    #[test]
    fn those_with_common_blocks_are_found_and_no_others() {
        let signal = Arc::new(Signal::new(Box::new(Nobody)));
        for mut random in (0..32).map(Random::new) {
            let locks = Arc::new(Locks::default());
            let mut all: Vec<Membership> = Vec::new();
            for _ in 0..100 {
                if !all.is_empty() && random.once_in(3) {
                    all.swap_remove(random.below(all.len()));
                }
                all.push(locks.join(some_blocks(&mut random), &signal));
            }
            for one in &all {
                let blocks = one.member.blocks();
                let overlaps = |other: &&Membership| {
                    let others = other.member.blocks();
                    blocks.start < others.end && others.start < blocks.end
                };
                let expected = all.iter().filter(overlaps).filter(|other| other.key != one.key).count();
                assert_eq!(one.member.peers_mut().len(), expected, "{blocks:?}");
            }
        }
    }
}

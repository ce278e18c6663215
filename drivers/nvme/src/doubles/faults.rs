//! Kinds of faults, drawn by a seed.

use luge_seeded::Random;
use std::time::{Duration, Instant};

/// Kind of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Fault {
    /// A register read returns all ones.
    ReadOfOnes,
    /// A register write is lost.
    WriteDropped,
    /// A register write takes effect some milliseconds later; those after it wait.
    WriteLate,
    /// CSTS.CFS is set, until the controller is disabled.
    Fatal,
    /// A function reset fails before or after it took effect, or leaves memory access off.
    ResetTorn,
    /// Memory access cannot be taken away this time.
    BusMasterKept,
    /// The tail of an I/O submission queue does not arrive.
    DoorbellDropped,
    /// The tail of an I/O submission queue arrives some milliseconds later.
    DoorbellLate,
    /// A completion is lost.
    CompletionDropped,
    /// A completion arrives some milliseconds later.
    CompletionLate,
    /// A completion arrives twice.
    CompletionTwice,
    /// A completion has an identifier of no command in flight, on a queue with at most eight of them.
    WrongIdentifier,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::ReadOfOnes,
        Self::WriteDropped,
        Self::WriteLate,
        Self::Fatal,
        Self::ResetTorn,
        Self::BusMasterKept,
        Self::DoorbellDropped,
        Self::DoorbellLate,
        Self::CompletionDropped,
        Self::CompletionLate,
        Self::CompletionTwice,
        Self::WrongIdentifier,
    ];
}

/// The longest delay of what arrives late.
const LATE_MAX_MS: u64 = 8;

/// Faults of a seed: how often each kind comes.
#[derive(Clone, Debug)]
pub struct Faults {
    kinds: [Kind; Fault::ALL.len()],
    delays: Random,
}

#[derive(Clone, Debug)]
struct Kind {
    /// One in so many events; zero for none.
    one_in: u32,
    random: Random,
    injected: u64,
}

impl Faults {
    /// No faults yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let kind = |kind: Fault| {
            let random = Random::new(seed.wrapping_mul(0x1_0001).wrapping_add(kind as u64));
            Kind { one_in: 0, random, injected: 0 }
        };
        Self { kinds: Fault::ALL.map(kind), delays: Random::new(!seed) }
    }

    /// Injects a kind of fault into one of so many events.
    #[must_use]
    pub fn with(mut self, fault: Fault, one_in: u32) -> Self {
        self.kinds[fault as usize].one_in = one_in;
        self
    }

    /// Goes on counting where `former` has stopped.
    pub(super) fn after(mut self, former: &Self) -> Self {
        let counts = self.kinds.iter_mut().zip(&former.kinds);
        counts.for_each(|(kind, former)| kind.injected = former.injected);
        self
    }

    /// Injects no more faults.
    pub(super) fn end(&mut self) {
        self.kinds.iter_mut().for_each(|kind| kind.one_in = 0);
    }

    /// Number of faults of a kind that were injected.
    pub(super) fn injected(&self, fault: Fault) -> u64 {
        self.kinds[fault as usize].injected
    }

    /// Whether the next event has the fault.
    pub(super) fn draw(&mut self, fault: Fault) -> bool {
        let kind = &mut self.kinds[fault as usize];
        let drawn = kind.one_in > 0 && kind.random.once_in(kind.one_in);
        kind.injected += u64::from(drawn);
        drawn
    }

    /// A number below `end`, for the details of a fault.
    pub(super) fn detail(&mut self, end: u16) -> u16 {
        self.delays.below(end)
    }

    /// Time at which something that is late arrives.
    pub(super) fn late(&mut self) -> Instant {
        Instant::now() + Duration::from_millis(self.delays.between(1, LATE_MAX_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_decisions_whatever_other_kinds_are_drawn() {
        let decisions = |with_other: bool| {
            let mut faults = Faults::new(7).with(Fault::Fatal, 3).with(Fault::WriteLate, 2);
            let mut draw = |_| {
                if with_other {
                    faults.draw(Fault::WriteLate);
                }
                faults.draw(Fault::Fatal)
            };
            (0..100).map(&mut draw).collect::<Vec<_>>()
        };
        assert_eq!(decisions(false), decisions(true));
        assert!(decisions(false).contains(&true));
    }
}

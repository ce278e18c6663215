//! Checks of data: the places that each request may go to, and the contents it must find there.
//!
//! Each slot keeps to units of its own, so that no two requests race for one.

use crate::choice::Choice;
use crate::error::BenchError;
use crate::options::Options;
use crate::pattern::{Pattern, UNITS_MAX};
use luge_memory::Span;

/// The units of one slot: `own`, `own + slots`, `own + 2 * slots` and so on.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// Unit of its request.
    unit: usize,
    /// Whether data that is read there is judged.
    judged: bool,
    /// The next of its units, where they are taken one after the other.
    round: usize,
}

/// All slots, and the expected contents of all units.
pub(crate) struct Checks {
    pattern: Pattern,
    slots: Vec<Slot>,
    units: usize,
    /// Whether this run writes: it does not judge what it has not written.
    writes: bool,
    verified: u64,
}

impl Checks {
    /// # Errors
    /// The disk is too small or too large.
    pub(crate) fn new(options: &Options, choice: &Choice) -> Result<Self, BenchError> {
        let slots = options.slots();
        if !(slots..=UNITS_MAX).contains(&choice.units) {
            return Err(BenchError::Options(format!(
                "--verify needs a disk of {slots} (disks times --queues times --iodepth) to {UNITS_MAX} requests of --bs, \
                 this has {}",
                choice.units
            )));
        }
        let [slots, units] = [slots, choice.units].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let pattern = Pattern::new(units, options.bs);
        let slots = vec![Slot::default(); slots];
        Ok(Self { pattern, slots, units, writes: options.rw.writes(), verified: 0 })
    }

    /// Reads that were checked.
    pub(crate) const fn verified(&self) -> u64 {
        self.verified
    }

    /// Chooses the unit of a slot's next request, which writes if there is memory to write from: that gets its
    /// data.
    pub(crate) fn next(&mut self, own: usize, choice: &mut Choice, written: Option<Span>) -> u64 {
        let unit = if choice.is_random() {
            let rounds = (self.units - own - 1) / self.slots.len() + 1;
            own + usize::try_from(choice.any(rounds as u64)).unwrap_or(0) * self.slots.len()
        } else {
            self.following(own).unwrap_or_else(|| {
                self.slots[own].round = 1;
                own
            })
        };
        self.slots[own].unit = unit;
        self.slots[own].judged = written.is_none() && (!self.writes || self.pattern.is_written(unit));
        if let Some(data) = written {
            self.pattern.fill(unit, data);
        }
        unit as u64
    }

    /// Goes back to the first unit of each slot.
    pub(crate) fn rewind(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.round = 0);
    }

    /// Next unit of a slot that this run wrote, to read it back; none after the last.
    pub(crate) fn next_written(&mut self, own: usize) -> Option<u64> {
        loop {
            let unit = self.following(own)?;
            if self.pattern.is_written(unit) {
                (self.slots[own].unit, self.slots[own].judged) = (unit, true);
                return Some(unit as u64);
            }
        }
    }

    /// Checks data that a slot has read. The error is the unit, and what is wrong with it.
    pub(crate) fn check(&mut self, own: usize, data: Span) -> Result<(), (u64, String)> {
        let Slot { unit, judged, .. } = self.slots[own];
        if !judged {
            return Ok(());
        }
        self.verified += 1;
        self.pattern.check(unit, data).map_err(|what| (unit as u64, what))
    }

    /// The next of a slot's units; none after the last.
    fn following(&mut self, own: usize) -> Option<usize> {
        let unit = own + self.slots[own].round * self.slots.len();
        (unit < self.units).then(|| {
            self.slots[own].round += 1;
            unit
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::options::tests::options;

    /// Three slots on a disk of ten units of 512 bytes.
    fn rig(line: &str) -> (Checks, Choice, Arena) {
        let options = options(&format!("{line} --bs 512 --iodepth 3 --verify crc32c"));
        let choice = Choice::new(&options, 10);
        (Checks::new(&options, &choice).unwrap(), choice, Arena::alone(4096).unwrap())
    }

    #[test]
    fn writes_in_order_reach_every_unit_once_before_one_is_written_again() {
        let (mut checks, mut choice, mut memory) = rig("--rw write");
        let data = memory.take(512, 512).0;
        let mut order = Vec::new();
        for own in [0, 1, 2, 0, 1, 2, 2, 1, 0, 0, 0] {
            order.push(checks.next(own, &mut choice, Some(data)));
        }
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 8, 7, 6, 9, 0]);
    }

    #[test]
    fn random_units_are_each_slots_own() {
        let (mut checks, mut choice, mut memory) = rig("--rw randrw");
        let data = memory.take(512, 512).0;
        for turn in 0..300 {
            let own = turn % 3;
            let unit = checks.next(own, &mut choice, (turn % 2 == 0).then_some(data));
            assert_eq!(unit % 3, own as u64);
            assert!(unit < 10);
        }
    }

    #[test]
    fn all_that_was_written_and_nothing_else_is_read_back() {
        let (mut checks, mut choice, mut memory) = rig("--rw write");
        let data = memory.take(512, 512).0;
        for own in [0, 1, 0, 0] {
            checks.next(own, &mut choice, Some(data));
        }
        checks.rewind();
        let back: Vec<u64> = (0..3)
            .flat_map(|own| std::iter::from_fn(|| checks.next_written(own)).collect::<Vec<_>>())
            .collect();
        assert_eq!(back, [0, 3, 6, 1]);
    }

    #[test]
    fn a_disk_with_less_than_a_unit_for_each_slot_is_refused() {
        let options = options("--rw write --bs 512 --iodepth 3 --queues 4 --verify crc32c");
        let wrong = Checks::new(&options, &Choice::new(&options, 11)).err().unwrap().to_string();
        assert!(wrong.contains("needs a disk of 12"), "{wrong}");
        assert!(Checks::new(&options, &Choice::new(&options, 12)).is_ok());
    }
}

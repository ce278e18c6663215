//! Marks of the volumes of a core whose locks it has to look at, and the way to end its sleep.

use crate::VolumeId;
use std::sync::atomic::{AtomicU64, Ordering};

/// Way to end the sleep of a core. Called by other cores: neither waits nor allocates.
pub trait Wake: Send + Sync {
    /// Lets the core have a turn soon, if it sleeps.
    fn wake(&self);
}

/// Words with a bit for each volume.
const WORDS: usize = (1 << 16) / BITS;

/// Bits of a word.
const BITS: usize = u64::BITS as usize;

/// Words of a group.
const GROUP: usize = WORDS / BITS;

/// Marks of the volumes of one core that it has to look at: a look costs as much as there are marks, whatever the
/// number of volumes.
pub struct Signal {
    /// A bit for each group of words that may have marks.
    groups: AtomicU64,
    /// A bit for each volume.
    words: Box<[AtomicU64]>,
    core: Box<dyn Wake>,
}

impl Signal {
    /// A signal to a core.
    #[must_use]
    pub fn new(core: Box<dyn Wake>) -> Self {
        let words = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        Self { groups: AtomicU64::new(0), words, core }
    }

    /// Whether nothing is marked.
    #[inline]
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.groups.load(Ordering::Relaxed) == 0
    }

    /// Takes the marks, and calls `look` with each marked volume, which may mark it again. Acquire: what was done before
    /// a mark is seen.
    pub(crate) fn take(&self, mut look: impl FnMut(VolumeId)) {
        for group in bits_of(self.groups.swap(0, Ordering::AcqRel)) {
            let words = self.words.iter().enumerate().skip(group * GROUP).take(GROUP);
            for (index, word) in words.filter(|(_, word)| word.load(Ordering::Relaxed) != 0) {
                let marks = bits_of(word.swap(0, Ordering::AcqRel));
                let volumes = marks.filter_map(|bit| u16::try_from(index * BITS + bit).ok());
                volumes.for_each(|volume| look(VolumeId(volume)));
            }
        }
    }

    /// Marks a volume of another core, and ends that core's sleep.
    pub(super) fn mark(&self, volume: VolumeId) {
        self.remind(volume);
        self.core.wake();
    }

    /// Marks a volume of the calling core: it is looked at in the next turn.
    pub(crate) fn remind(&self, volume: VolumeId) {
        let index = usize::from(volume.0);
        let (word, bit) = (index / BITS, index % BITS);
        self.words.get(word).into_iter().for_each(|word| _ = word.fetch_or(1 << bit, Ordering::AcqRel));
        // After the mark: whoever takes the group's bit finds it. A bit without marks does no harm.
        self.groups.fetch_or(1 << (word / GROUP), Ordering::AcqRel);
    }
}

/// Numbers of the bits of a word that are set.
fn bits_of(word: u64) -> impl Iterator<Item = usize> {
    let set = |rest: u64| (rest != 0).then_some(rest);
    std::iter::successors(set(word), move |rest| set(rest & (rest - 1)))
        .map(|rest| rest.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    struct Bell(Arc<AtomicUsize>);

    impl Wake for Bell {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn taken(signal: &Signal) -> Vec<u16> {
        let mut taken = Vec::new();
        signal.take(|volume| taken.push(volume.0));
        taken
    }

    #[test]
    fn all_that_are_marked_are_looked_at_once() {
        let rung = Arc::new(AtomicUsize::new(0));
        let signal = Signal::new(Box::new(Bell(rung.clone())));
        assert!(signal.is_quiet());
        let marked = [0, 1, 63, 64, 1023, 1024, 40_000, 65_535];
        marked.iter().rev().for_each(|&volume| signal.mark(VolumeId(volume)));
        signal.mark(VolumeId(64));
        assert!(!signal.is_quiet());
        assert_eq!(taken(&signal), marked);
        assert!(signal.is_quiet());
        assert_eq!(taken(&signal), []);
        assert_eq!(rung.load(Ordering::Relaxed), marked.len() + 1);
    }

    #[test]
    fn one_that_is_marked_while_it_is_looked_at_is_looked_at_again() {
        let rung = Arc::new(AtomicUsize::new(0));
        let signal = Signal::new(Box::new(Bell(rung.clone())));
        signal.remind(VolumeId(700));
        signal.take(|volume| signal.remind(volume));
        assert_eq!(taken(&signal), [700]);
        assert_eq!(rung.load(Ordering::Relaxed), 0, "its core is awake");
    }
}

//! The choice of a core for a ring, when that ring starts.
//!
//! A core costs its load, and more where the disk or the guest's memory is on another NUMA node, or
//! where it serves other rings of the disk already; the cheapest is taken. Costs that differ by less
//! than a tenth of a core are the same, because load goes up and down by that: then the core with fewer
//! rings is taken.
//!
//! A ring keeps its core while it runs.

use crate::CoreHandle;
use luge_memory::{NodeAmounts, NumaNode};
use luge_volume::Ticks;
use std::cmp::Ordering;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Cost of a core that is completely busy.
const BUSY: f64 = 1.0;

/// Cost of each ring of the disk that a core serves: they are to be spread, but not to a core that is busy.
const OWN_RING: f64 = BUSY / 2.0;

/// Cost of a core all of whose accesses to guest memory go to another node.
const FAR_MEMORY: f64 = BUSY;

/// Cost of a core whose disk is on another node: fewer accesses than to memory, by doorbells and completions.
const FAR_DEVICE: f64 = BUSY / 2.0;

/// Difference of costs that does not count.
const STEP: f64 = BUSY / 10.0;

/// NUMA nodes of what a ring uses.
#[derive(Clone, Debug, Default)]
pub struct Locality {
    /// Nodes of the devices beneath its volume.
    pub devices: NodeAmounts,
    /// Nodes of its guest's memory.
    pub memory: NodeAmounts,
}

/// A core that may be chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) node: Option<NumaNode>,
    /// Busy share, 0 to 1, and more where rings have just started.
    pub(crate) load: f64,
    /// Rings of the same disk that it serves.
    pub(crate) own_rings: usize,
    /// Everything that it serves: fewer is better where the cost is the same.
    pub(crate) serves: usize,
}

impl Candidate {
    #[expect(clippy::cast_precision_loss, reason = "a disk has 256 rings")]
    fn cost(&self, locality: &Locality) -> f64 {
        let share_off = |amounts: &NodeAmounts| self.node.map_or(0.0, |node| amounts.share_off(node));
        self.load * BUSY
            + self.own_rings as f64 * OWN_RING
            + share_off(&locality.memory) * FAR_MEMORY
            + share_off(&locality.devices) * FAR_DEVICE
    }

    fn compare(&self, other: &Self, locality: &Locality) -> Ordering {
        let steps = |candidate: &Self| (candidate.cost(locality) / STEP).floor();
        let by_cost = steps(self).total_cmp(&steps(other));
        by_cost.then(self.own_rings.cmp(&other.own_rings)).then(self.serves.cmp(&other.serves))
    }
}

/// Indices of the candidates, the best first; those that are as good keep their order.
pub(crate) fn order(candidates: &[Candidate], locality: &Locality) -> Vec<usize> {
    let mut indexed: Vec<(usize, &Candidate)> = candidates.iter().enumerate().collect();
    indexed.sort_by(|(_, a), (_, b)| a.compare(b, locality));
    indexed.into_iter().map(|(index, _)| index).collect()
}

/// Sorts cores for a disk that no guest uses yet, the best first.
#[must_use]
pub fn best_first(cores: &[CoreHandle], locality: &Locality) -> Vec<CoreHandle> {
    let candidate = |core: &CoreHandle| Candidate {
        node: core.node(),
        load: core.load(),
        own_rings: 0,
        serves: core.attachments().load(Relaxed),
    };
    let candidates: Vec<_> = cores.iter().map(candidate).collect();
    order(&candidates, locality).into_iter().filter_map(|index| cores.get(index).cloned()).collect()
}

/// A core that may serve the rings of a device, and the number of those that it serves.
#[derive(Clone)]
pub struct ServingCore {
    core: CoreHandle,
    own_rings: Arc<AtomicUsize>,
}

impl ServingCore {
    /// A core that serves no ring of the device yet.
    #[must_use]
    pub fn new(core: CoreHandle) -> Self {
        Self { core, own_rings: Arc::default() }
    }

    /// The core.
    #[must_use]
    pub fn core(&self) -> &CoreHandle {
        &self.core
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            node: self.core.node(),
            load: self.core.load(),
            own_rings: self.own_rings.load(Relaxed),
            serves: self.core.rings(),
        }
    }
}

/// A ring, counted on the core that was chosen for it until this is dropped.
pub struct Assignment {
    chosen: ServingCore,
    start: Ticks,
}

impl Assignment {
    /// Chooses a core for a ring among those of its device; none where there is none. `locality` is asked
    /// for where the cores are on several nodes.
    #[must_use]
    pub fn choose(cores: &[ServingCore], locality: impl FnOnce() -> Locality) -> Option<Self> {
        let mut nodes = cores.iter().map(|serving| serving.core.node());
        let first = nodes.next().flatten();
        let locality = if nodes.all(|node| node == first) { Locality::default() } else { locality() };
        // One choice at a time: each counts those before it.
        static CHOICE: Mutex<()> = Mutex::new(());
        let _one_at_a_time = CHOICE.lock().unwrap_or_else(PoisonError::into_inner);
        let candidates: Vec<_> = cores.iter().map(ServingCore::candidate).collect();
        let chosen = cores.get(*order(&candidates, &locality).first()?)?.clone();
        let start = Ticks::now();
        chosen.own_rings.fetch_add(1, Relaxed);
        chosen.core.counted_rings().start(start);
        Some(Self { chosen, start })
    }

    /// The core.
    #[must_use]
    pub fn core(&self) -> &CoreHandle {
        &self.chosen.core
    }
}

impl Drop for Assignment {
    fn drop(&mut self) {
        self.chosen.own_rings.fetch_sub(1, Relaxed);
        self.chosen.core.counted_rings().stop(self.start, Ticks::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: NumaNode = NumaNode(0);
    const FAR: NumaNode = NumaNode(1);

    fn core(node: NumaNode, load: f64) -> Candidate {
        Candidate { node: Some(node), load, own_rings: 0, serves: 0 }
    }

    fn on(node: NumaNode) -> NodeAmounts {
        let mut amounts = NodeAmounts::default();
        amounts.add(node, 1);
        amounts
    }

    /// Cores that get rings of one disk, one after the other.
    fn spread(cores: &mut [Candidate], locality: &Locality, rings: usize) -> Vec<usize> {
        (0..rings).for_each(|_| {
            let best = order(cores, locality)[0];
            cores[best].own_rings += 1;
            cores[best].serves += 1;
        });
        cores.iter().map(|core| core.own_rings).collect()
    }

    #[test]
    fn rings_of_a_disk_are_spread_over_cores_that_are_as_busy() {
        let mut cores = [0.02, 0.0, 0.07, 0.05].map(|load| core(NEAR, load));
        assert_eq!(spread(&mut cores, &Locality::default(), 8), [2; 4]);
    }

    #[test]
    fn of_cores_that_are_as_busy_the_one_with_fewer_rings_is_taken() {
        let mut cores = [core(NEAR, 0.0); 3];
        (cores[0].serves, cores[1].serves, cores[2].serves) = (7, 2, 5);
        assert_eq!(order(&cores, &Locality::default()), [1, 2, 0]);
    }

    #[test]
    fn a_ring_goes_to_the_core_with_less_load_even_if_that_serves_many_idle_rings() {
        let mut cores = [core(NEAR, 0.9), core(NEAR, 0.0)];
        cores[1].serves = 200;
        assert_eq!(order(&cores, &Locality::default()), [1, 0]);
    }

    #[test]
    fn a_hot_core_gets_fewer_of_256_rings_and_the_others_as_many_each() {
        let mut cores = [1.0, 0.0, 0.0, 0.0].map(|load| core(NEAR, load));
        let rings = spread(&mut cores, &Locality::default(), 256);
        assert_eq!(rings.iter().sum::<usize>(), 256);
        assert!(rings[0] < rings[1], "{rings:?}");
        assert!(rings[1].abs_diff(rings[3]) <= 1, "{rings:?}");
        let mut cores = [1.0, 0.0, 0.0, 0.0].map(|load| core(NEAR, load));
        assert_eq!(spread(&mut cores, &Locality::default(), 6), [0, 2, 2, 2], "few rings do without it");
    }

    #[test]
    fn a_ring_is_served_near_its_memory_and_its_disk() {
        let cores = [core(FAR, 0.0), core(NEAR, 0.3)];
        let near_memory = Locality { memory: on(NEAR), ..Locality::default() };
        let near_disk = Locality { devices: on(NEAR), ..Locality::default() };
        for locality in [near_memory, near_disk] {
            assert_eq!(order(&cores, &locality), [1, 0], "{locality:?}");
        }
        assert_eq!(order(&cores, &Locality::default()), [0, 1], "nothing is known");
    }

    #[test]
    fn memory_counts_more_than_the_disk() {
        let cores = [core(FAR, 0.0), core(NEAR, 0.0)];
        let locality = Locality { memory: on(NEAR), devices: on(FAR) };
        assert_eq!(order(&cores, &locality), [1, 0]);
    }

    #[test]
    fn memory_on_several_nodes_counts_by_its_share() {
        let mut locality = Locality::default();
        locality.memory.add(NEAR, 3 << 30);
        locality.memory.add(FAR, 1 << 30);
        let cores = [core(FAR, 0.0), core(NEAR, 0.2)];
        assert_eq!(order(&cores, &locality), [1, 0]);
    }

    #[test]
    fn cores_that_are_near_but_full_are_not_worth_it() {
        let locality = Locality { memory: on(NEAR), devices: on(NEAR) };
        let mut cores = [core(NEAR, 0.0), core(NEAR, 0.0), core(FAR, 0.0), core(FAR, 0.0)];
        assert_eq!(spread(&mut cores, &locality, 4), [2, 2, 0, 0]);
        cores.iter_mut().for_each(|core| core.own_rings = 0);
        let rings = spread(&mut cores, &locality, 64);
        assert!(rings[0] > rings[2], "{rings:?}");
        assert!(rings[2] > 8, "{rings:?}");
    }

    #[test]
    fn a_core_whose_node_is_not_known_is_neither_near_nor_far() {
        let locality = Locality { memory: on(NEAR), devices: on(NEAR) };
        let unknown = Candidate { node: None, ..core(NEAR, 0.0) };
        assert_eq!(order(&[core(FAR, 0.0), unknown], &locality), [1, 0]);
    }

    #[test]
    fn without_cores_there_is_no_choice() {
        assert_eq!(order(&[], &Locality::default()), [] as [usize; 0]);
        assert!(Assignment::choose(&[], Locality::default).is_none());
    }

    #[test]
    fn loads_that_are_none_are_sorted_too() {
        let cores = [f64::NAN, f64::INFINITY, 0.5].map(|load| core(NEAR, load));
        assert_eq!(order(&cores, &Locality::default())[0], 2);
    }
}

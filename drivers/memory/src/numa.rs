//! NUMA nodes: which of them memory lies on.
//!
//! Path: none; asked when a core is chosen for a ring.
//!
//! Not here: where memory of our own is placed (`dma_memory`).

#![expect(unsafe_code, reason = "the kernel is asked where pages lie by a raw system call")]

use crate::Mapping;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};

/// A node of memory near some CPUs and devices, as in `/sys/bus/pci/devices/*/numa_node`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumaNode(pub u16);

/// Amounts of something on each NUMA node: bytes of memory, or devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAmounts(BTreeMap<NumaNode, u64>);

impl NodeAmounts {
    /// Adds an amount on a node.
    pub fn add(&mut self, node: NumaNode, amount: u64) {
        let sum = self.0.entry(node).or_default();
        *sum = sum.saturating_add(amount);
    }

    /// Adds all amounts of `other`.
    pub fn add_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(&node, &amount)| self.add(node, amount));
    }

    /// Share of the whole that is on other nodes than `node`, 0 to 1; zero where nothing is known.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn share_off(&self, node: NumaNode) -> f64 {
        let sum = |amounts: &mut dyn Iterator<Item = &u64>| amounts.map(|&amount| amount as f64).sum::<f64>();
        let all = sum(&mut self.0.values());
        let off = sum(&mut self.0.iter().filter(|&(&other, _)| other != node).map(|(_, amount)| amount));
        if all > 0.0 { off / all } else { 0.0 }
    }
}

/// Most pages of a mapping that are asked for.
const SAMPLES: usize = 32;

/// Amounts of memory on each node, by samples of the pages of a mapping that this process has touched,
/// as it has all those that SSDs reach. Touches none itself.
pub(crate) fn nodes_of(memory: &Mapping) -> NodeAmounts {
    const PAGE: u64 = 4096;
    let samples = memory.len().div_ceil(PAGE).min(SAMPLES as u64).max(1);
    let step = memory.len() / samples / PAGE * PAGE;
    let mut pages = [std::ptr::null::<c_void>(); SAMPLES];
    for (page, i) in pages.iter_mut().zip(0..samples) {
        *page = memory.host_at(i * step).map_or(std::ptr::null(), |page| page.as_ptr().cast());
    }
    let mut amounts = NodeAmounts::default();
    let nodes = nodes_of_pages(&pages).into_iter().zip(0..samples).filter_map(|(node, _)| node);
    nodes.for_each(|node| amounts.add(node, memory.len() / samples));
    amounts
}

/// The nodes of pages, where they are known: `move_pages` without a place to move them to.
fn nodes_of_pages(pages: &[*const c_void; SAMPLES]) -> [Option<NumaNode>; SAMPLES] {
    const THIS_PROCESS: c_int = 0;
    let mut status: [c_int; SAMPLES] = [-1; SAMPLES];
    // SAFETY: the kernel reads as many addresses and writes as many numbers as there are, and moves nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            THIS_PROCESS,
            pages.len(),
            pages.as_ptr(),
            std::ptr::null::<c_int>(),
            status.as_mut_ptr(),
            0,
        )
    };
    let node = |status: c_int| u16::try_from(status).ok().filter(|_| result == 0).map(NumaNode);
    status.map(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    fn memory(len: u64) -> Mapping {
        let file = memfd_create("memory", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, len).unwrap();
        Mapping::new(&file, 0, len).unwrap()
    }

    #[test]
    fn memory_that_was_not_touched_is_on_no_node_and_stays_untouched() {
        let memory = memory(64 << 20);
        assert_eq!(nodes_of(&memory), NodeAmounts::default());
        assert_eq!(nodes_of(&memory), NodeAmounts::default(), "asking touches nothing");
    }

    #[test]
    fn memory_that_was_touched_is_on_a_node_of_this_machine() {
        for len in [4096, 3 * 4096, 200 * 4096] {
            let memory = memory(len);
            for offset in (0..len).step_by(4096) {
                let byte = memory.host_at(offset).unwrap();
                // SAFETY: it is inside of the mapping, which nobody else has.
                unsafe { byte.as_ptr().write_volatile(1) };
            }
            let nodes = nodes_of(&memory);
            let amount: u64 = nodes.0.values().sum();
            assert!(amount > len / 2, "{nodes:?} of {len}");
            assert!(amount <= len, "{nodes:?} of {len}");
            for node in nodes.0.keys() {
                assert!(std::path::Path::new(&format!("/sys/devices/system/node/node{}", node.0)).exists());
            }
        }
    }

    #[test]
    fn a_share_is_of_what_is_known() {
        let mut amounts = NodeAmounts::default();
        assert_eq!(amounts.share_off(NumaNode(0)).to_bits(), 0_f64.to_bits(), "nothing is known");
        amounts.add(NumaNode(0), 300);
        amounts.add(NumaNode(1), u64::MAX);
        amounts.add(NumaNode(1), 1);
        assert!(amounts.share_off(NumaNode(0)) > 0.99);
        assert!(amounts.share_off(NumaNode(1)) < 0.01);
        assert!(amounts.share_off(NumaNode(7)) > 0.99);
    }
}

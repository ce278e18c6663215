//! NUMA nodes, and the amount of memory that lies on each.
//!
//! Path: none; asked when a core is chosen for a ring.
//!
//! Not here: where memory of Luge's own is placed (`dma_memory`).

#![expect(unsafe_code, reason = "the kernel is asked where pages lie by raw system calls")]

use crate::Mapping;
use std::collections::BTreeMap;
use std::ptr::NonNull;

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

    /// Share that is on other nodes than `node`, from 0 to 1; zero where nothing is known.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn share_off(&self, node: NumaNode) -> f64 {
        let sum = |amounts: &mut dyn Iterator<Item = &u64>| amounts.map(|&amount| amount as f64).sum::<f64>();
        let all = sum(&mut self.0.values());
        let off = sum(&mut self.0.iter().filter(|&(&other, _)| other != node).map(|(_, amount)| amount));
        if all > 0.0 { off / all } else { 0.0 }
    }
}

/// Maximum number of pages of a mapping that are sampled.
const SAMPLES: u64 = 32;

/// Smallest page of this processor, in bytes.
const PAGE: u64 = 4096;

/// Estimates the bytes on each node from a sample of the present pages. Allocates no page.
pub(crate) fn nodes_of(memory: &Mapping) -> NodeAmounts {
    let samples = memory.len().div_ceil(PAGE).clamp(1, SAMPLES);
    let step = memory.len() / samples / PAGE * PAGE;
    let pages = (0..samples).filter_map(|sample| memory.host_at(sample * step));
    let mut amounts = NodeAmounts::default();
    let nodes = pages.filter(|&page| is_there(page)).filter_map(node_of);
    nodes.for_each(|node| amounts.add(node, memory.len() / samples));
    amounts
}

/// Whether a page of a mapping is in memory. A hugepage counts only once this process has touched it.
fn is_there(page: NonNull<u8>) -> bool {
    let mut is_there = 0;
    // SAFETY: `mincore` writes one byte, for one page.
    let result = unsafe { libc::mincore(page.as_ptr().cast(), 1, &raw mut is_there) };
    result == 0 && is_there & 1 == 1
}

/// The node of a page that is in memory.
fn node_of(page: NonNull<u8>) -> Option<NumaNode> {
    const MPOL_F_NODE: libc::c_ulong = 1;
    const MPOL_F_ADDR: libc::c_ulong = 2;
    let mut node: libc::c_int = -1;
    // SAFETY: `get_mempolicy` writes one number and no mask; where the page has gone it says so.
    let result = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &raw mut node,
            std::ptr::null_mut::<libc::c_ulong>(),
            0_u64,
            page.as_ptr(),
            MPOL_F_NODE | MPOL_F_ADDR,
        )
    };
    u16::try_from(node).ok().filter(|_| result == 0).map(NumaNode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
    use std::os::fd::OwnedFd;

    fn file(len: u64) -> OwnedFd {
        let file = memfd_create("memory", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, len).unwrap();
        file
    }

    #[test]
    fn memory_that_was_not_touched_is_on_no_node_and_stays_untouched() {
        let file = file(64 << 20);
        let memory = Mapping::new(&file, 0, 64 << 20).unwrap();
        assert_eq!(nodes_of(&memory), NodeAmounts::default());
        assert_eq!(fstat(&file).unwrap().st_blocks, 0, "asking makes no page");
    }

    #[test]
    fn memory_that_was_taken_away_is_on_no_node() {
        let file = file(1 << 20);
        let memory = Mapping::new(&file, 0, 1 << 20).unwrap();
        ftruncate(&file, 0).unwrap();
        assert_eq!(nodes_of(&memory), NodeAmounts::default());
        assert_eq!(node_of(memory.host()), None, "there is no such page");
    }

    #[test]
    fn memory_that_somebody_has_touched_is_on_a_node_of_this_machine() {
        for len in [4096, 3 * 4096, 200 * 4096] {
            let file = file(len);
            // Not through the mapping that is asked for, as a guest touches its memory.
            rustix::io::write(&file, &vec![1; usize::try_from(len).unwrap()]).unwrap();
            let nodes = nodes_of(&Mapping::new(&file, 0, len).unwrap());
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

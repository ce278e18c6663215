//! Hugepages of 2 MiB, reserved at boot, before memory is fragmented.
//!
//! Invariants
//! - Pages that are reserved already, for example by the kernel command line, are never returned.
//! - The number of pages that the kernel reserved is read back.

use crate::settings::Hugepages;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

const PAGE_MIB: u64 = 2;

/// Hugepages that were asked for, and those that there are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reserved {
    /// Wanted memory.
    pub wanted_mib: u64,
    /// Reserved memory of each NUMA node, in the order of their numbers.
    pub nodes_mib: Vec<u64>,
}

impl Reserved {
    /// Reserved memory of all nodes.
    #[must_use]
    pub fn total_mib(&self) -> u64 {
        self.nodes_mib.iter().sum()
    }

    /// Whether less than the wanted memory is reserved.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.total_mib() < self.wanted_mib
    }
}

/// Error of reserving hugepages.
#[derive(Debug, Error)]
pub enum HugepagesError {
    /// The kernel does not support hugepages of 2 MiB.
    #[error("the kernel has no hugepages of 2 MiB: build it with CONFIG_HUGETLBFS")]
    None,
    /// A file of the kernel cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the kernel.
        error: io::Error,
    },
}

/// Reserves hugepages on this machine, equally on all NUMA nodes with memory.
///
/// # Errors
/// [`HugepagesError`]. Fewer pages than wanted are not an error: see [`Reserved::is_short`].
pub fn reserve_hugepages(wish: Hugepages) -> Result<Reserved, HugepagesError> {
    reserve(Path::new("/sys"), Path::new("/proc/meminfo"), wish)
}

fn reserve(sys: &Path, meminfo: &Path, wish: Hugepages) -> Result<Reserved, HugepagesError> {
    let wanted_mib = match wish {
        Hugepages::Mib(mib) => mib,
        Hugepages::Percent(part) => total_mib(&read(meminfo)?) / 100 * u64::from(part),
    };
    let files = files(sys)?;
    let each = wanted_mib.div_ceil(PAGE_MIB).div_ceil(files.len() as u64);
    let nodes_mib = files.iter().map(|file| Ok(raise(file, each)? * PAGE_MIB)).collect::<Result<_, _>>()?;
    Ok(Reserved { wanted_mib, nodes_mib })
}

/// Files with the number of pages of each NUMA node with memory; one file for the whole machine if the
/// kernel has no nodes.
fn files(sys: &Path) -> Result<Vec<PathBuf>, HugepagesError> {
    const PAGES: &str = "hugepages/hugepages-2048kB/nr_hugepages";
    let nodes = fs::read_dir(sys.join("devices/system/node")).into_iter().flatten().flatten();
    let mut nodes: Vec<(u32, PathBuf)> = nodes
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()?;
            let has_memory = total_mib(&fs::read_to_string(entry.path().join("meminfo")).ok()?) > 0;
            let file = entry.path().join(PAGES);
            (has_memory && file.exists()).then_some((number, file))
        })
        .collect();
    nodes.sort();
    if !nodes.is_empty() {
        return Ok(nodes.into_iter().map(|(_, file)| file).collect());
    }
    let file = sys.join("kernel/mm").join(PAGES);
    if file.exists() { Ok(vec![file]) } else { Err(HugepagesError::None) }
}

/// Asks the kernel to raise the number in `file` to `pages`; returns the number afterwards.
fn raise(file: &Path, pages: u64) -> Result<u64, HugepagesError> {
    let number = || Ok(read(file)?.trim().parse().unwrap_or(0));
    let now: u64 = number()?;
    if now >= pages {
        return Ok(now);
    }
    fs::write(file, pages.to_string()).map_err(|error| HugepagesError::Io { path: file.into(), error })?;
    number()
}

fn read(path: &Path) -> Result<String, HugepagesError> {
    fs::read_to_string(path).map_err(|error| HugepagesError::Io { path: path.into(), error })
}

/// `MemTotal` of /proc/meminfo or of a node's meminfo.
fn total_mib(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.split_once("MemTotal:"));
    let kib = line.and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const PAGES: &str = "hugepages/hugepages-2048kB";

    /// Machine of 1000 MiB whose nodes have these numbers of pages.
    fn machine(nodes: &[&str]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("meminfo"), "MemTotal:  1024000 kB\n").unwrap();
        for (number, pages) in nodes.iter().enumerate() {
            let node = folder.path().join(format!("devices/system/node/node{number}"));
            fs::create_dir_all(node.join(PAGES)).unwrap();
            fs::write(node.join("meminfo"), format!("Node {number} MemTotal:  512000 kB\n")).unwrap();
            fs::write(node.join(PAGES).join("nr_hugepages"), pages).unwrap();
        }
        folder
    }

    fn reserve_on(machine: &TempDir, wish: Hugepages) -> Result<Reserved, HugepagesError> {
        reserve(machine.path(), &machine.path().join("meminfo"), wish)
    }

    #[test]
    fn nodes_get_equal_numbers_of_pages_rounded_up() {
        let machine = machine(&["0", "0"]);
        let reserved = reserve_on(&machine, Hugepages::Mib(258)).unwrap();
        assert_eq!(reserved.nodes_mib, [130, 130]);
        assert!(!reserved.is_short());
    }

    #[test]
    fn a_percentage_is_of_all_memory() {
        assert_eq!(reserve_on(&machine(&["0"]), Hugepages::Percent(50)).unwrap().total_mib(), 500);
    }

    #[test]
    fn pages_that_are_reserved_already_are_never_returned() {
        let reserved = reserve_on(&machine(&["300", "0"]), Hugepages::Mib(200)).unwrap();
        assert_eq!(reserved.nodes_mib, [600, 100]);
        assert_eq!(reserve_on(&machine(&["7"]), Hugepages::Mib(0)).unwrap().nodes_mib, [14]);
    }

    #[test]
    fn a_kernel_without_nodes_has_one_number_and_one_without_hugepages_is_an_error() {
        let machine = machine(&[]);
        assert!(matches!(reserve_on(&machine, Hugepages::Mib(2)), Err(HugepagesError::None)));
        let folder = machine.path().join("kernel/mm").join(PAGES);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("nr_hugepages"), "0").unwrap();
        assert_eq!(reserve_on(&machine, Hugepages::Mib(64)).unwrap().nodes_mib, [64]);
    }

    #[test]
    fn fewer_pages_than_wanted_are_noticed() {
        let reserved = Reserved { wanted_mib: 512, nodes_mib: vec![200, 311] };
        assert!(reserved.is_short());
        assert!(!Reserved { nodes_mib: vec![512], ..reserved }.is_short());
    }
}

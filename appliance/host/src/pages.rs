//! Hugepages: pools of each size, on each NUMA node.

use crate::HostError;
use crate::pool::{PagePool, Pool};
use luge_vfio::SysfsRoot;
use std::fs;
use std::path::PathBuf;

/// Lists the pools of a host, by node and size.
pub(crate) fn pools(root: &SysfsRoot) -> Vec<PagePool> {
    let nodes = numbers(&root.path("/sys/devices/system/node"), "node", "");
    let mut pools: Vec<PagePool> = nodes.into_iter().flat_map(|node| pools_of(root, node)).collect();
    pools.sort_by_key(|pool| pool.pool);
    pools
}

fn pools_of(root: &SysfsRoot, node: u64) -> Vec<PagePool> {
    let Ok(node) = u32::try_from(node) else { return Vec::new() };
    let folder = root.path(&format!("/sys/devices/system/node/node{node}/hugepages"));
    let sizes = numbers(&folder, "hugepages-", "kB");
    sizes.into_iter().filter_map(|page_kib| read(root, Pool { node, page_kib })).collect()
}

/// Reads a pool; none where the host does not have it.
pub(crate) fn read(root: &SysfsRoot, pool: Pool) -> Option<PagePool> {
    let number = |name| fs::read_to_string(file(root, pool, name)).ok()?.trim().parse().ok();
    Some(PagePool { pool, total: number("nr_hugepages")?, free: number("free_hugepages")? })
}

/// Sets the number of pages of a pool.
///
/// # Errors
/// [`HostError`]; the pool has its former size then.
pub(crate) fn resize(root: &SysfsRoot, pool: Pool, wanted: u64) -> Result<(), HostError> {
    let before = read(root, pool).ok_or(HostError::NoPool(pool))?;
    let used = before.total.saturating_sub(before.free);
    if wanted < used {
        return Err(HostError::PagesInUse { pool, used });
    }
    store(root, pool, wanted)?;
    let got = read(root, pool).map_or(0, |pool| pool.total);
    if got < wanted {
        store(root, pool, before.total)?;
        return Err(HostError::TooFewPages { pool, wanted, got });
    }
    Ok(())
}

fn store(root: &SysfsRoot, pool: Pool, pages: u64) -> Result<(), HostError> {
    let path = file(root, pool, "nr_hugepages");
    root.store(&path, &pages.to_string()).map_err(|source| HostError::File { path, source })
}

fn file(root: &SysfsRoot, Pool { node, page_kib }: Pool, name: &str) -> PathBuf {
    root.path(&format!("/sys/devices/system/node/node{node}/hugepages/hugepages-{page_kib}kB")).join(name)
}

/// Numbers between `before` and `after` in the names of a folder.
fn numbers(folder: &std::path::Path, before: &str, after: &str) -> Vec<u64> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |name: &str| name.strip_prefix(before)?.strip_suffix(after)?.parse().ok();
    names.filter_map(|entry| number(entry.file_name().to_str()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_vfio::rig::FakeHost;

    const POOL: Pool = Pool { node: 0, page_kib: 2048 };

    fn size(host: &FakeHost) -> u64 {
        read(&host.root(), POOL).unwrap().total
    }

    #[test]
    fn pools_are_listed_by_node_and_size() {
        let host = FakeHost::new();
        host.hugepages(1, 2048, 4, 4).hugepages(0, 1 << 20, 0, 0).hugepages(0, 2048, 512, 100);
        let found: Vec<String> = pools(&host.root())
            .iter()
            .map(|pool| format!("{}: {} of {}", pool.pool, pool.free, pool.total))
            .collect();
        assert_eq!(
            found,
            [
                "hugepages of 2048 KiB on node 0: 100 of 512",
                "hugepages of 1048576 KiB on node 0: 0 of 0",
                "hugepages of 2048 KiB on node 1: 4 of 4"
            ]
        );
    }

    #[test]
    fn a_pool_grows_and_shrinks() {
        let host = FakeHost::new();
        host.hugepages(0, 2048, 16, 16);
        for wanted in [64, 0, 3] {
            resize(&host.root(), POOL, wanted).unwrap();
            assert_eq!(size(&host), wanted);
        }
    }

    #[test]
    fn pages_that_the_kernel_cannot_make_leave_the_pool_as_it_was() {
        let host = FakeHost::new();
        host.hugepages(0, 2048, 16, 16).hugepages_most(0, 2048, 100);
        let error = resize(&host.root(), POOL, 101).unwrap_err().to_string();
        assert!(
            error.starts_with("the kernel made only 100 of 101 hugepages of 2048 KiB on node 0"),
            "{error}"
        );
        assert_eq!(size(&host), 16);
    }

    #[test]
    fn pages_in_use_stay() {
        let host = FakeHost::new();
        host.hugepages(0, 2048, 16, 6);
        let error = resize(&host.root(), POOL, 9).unwrap_err().to_string();
        assert!(error.starts_with("10 hugepages of 2048 KiB on node 0 are in use"), "{error}");
        assert_eq!(size(&host), 16);
    }

    #[test]
    fn a_pool_that_is_not_there_is_refused_by_name() {
        let error =
            resize(&FakeHost::new().root(), Pool { node: 7, page_kib: 2048 }, 1).unwrap_err().to_string();
        assert!(error.starts_with("this host has no hugepages of 2048 KiB on node 7"), "{error}");
    }
}

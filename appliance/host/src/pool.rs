//! Names and sizes of pools of hugepages.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Name of a pool of hugepages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Pool {
    /// NUMA node.
    pub node: u32,
    /// Size of a page in KiB.
    pub page_kib: u64,
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hugepages of {} KiB on node {}", self.page_kib, self.node)
    }
}

/// A pool of hugepages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PagePool {
    /// Name of the pool.
    #[serde(flatten)]
    pub pool: Pool,
    /// Number of pages.
    pub total: u64,
    /// Number of pages that nobody uses.
    pub free: u64,
}

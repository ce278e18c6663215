//! Memory budget of disks: free hugepages, or free ordinary pages.

use luge_memory::PageSize;
use std::fs;
use std::path::Path;
use thiserror::Error;

/// File with the number of free 2 MiB hugepages.
const FREE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";

/// Error of the memory budget.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HugepagesError {
    /// Too few hugepages are free.
    #[error(
        "{need_mib} MiB of hugepages are needed, and {free_mib} MiB are free: \
         reserve more (echo {need_pages} > /proc/sys/vm/nr_hugepages), ask for less (-s), \
         or use ordinary pages (--no-huge)"
    )]
    TooFew {
        /// Needed memory in MiB.
        need_mib: u64,
        /// Needed memory in pages.
        need_pages: u64,
        /// Free memory in MiB.
        free_mib: u64,
    },
    /// Too little memory is free.
    #[error("{need_mib} MiB of memory are needed (-s), and {free_mib} MiB are free: ask for less")]
    TooLittle {
        /// Needed memory in MiB.
        need_mib: u64,
        /// Free memory in MiB.
        free_mib: u64,
    },
}

/// Smallest budget in MiB: the queues of one SSD.
const LEAST_MIB: u64 = 2;

/// Budget in bytes: the value of `-s`, or all free hugepages, or half of the free memory.
///
/// # Errors
/// [`HugepagesError`] if there is less than that now.
pub fn budget(pages: PageSize, wanted_mib: Option<u64>) -> Result<u64, HugepagesError> {
    let free_mib = match pages {
        PageSize::Base => available_mib(),
        PageSize::Huge2MiB | PageSize::Huge1GiB => free_pages() * 2,
    };
    check(pages, wanted_mib, free_mib)
}

fn check(pages: PageSize, wanted_mib: Option<u64>, free_mib: u64) -> Result<u64, HugepagesError> {
    let need_mib = wanted_mib.unwrap_or(LEAST_MIB);
    if need_mib > free_mib {
        return Err(match pages {
            PageSize::Base => HugepagesError::TooLittle { need_mib, free_mib },
            PageSize::Huge2MiB | PageSize::Huge1GiB => {
                HugepagesError::TooFew { need_mib, need_pages: need_mib.div_ceil(2), free_mib }
            }
        });
    }
    let all_mib = if pages == PageSize::Base { free_mib / 2 } else { free_mib };
    Ok(wanted_mib.unwrap_or(all_mib) << 20)
}

fn free_pages() -> u64 {
    let text = fs::read_to_string(Path::new(FREE)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn available_mib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_hugepages_is_an_error_with_the_remedy() {
        let error = check(PageSize::Huge2MiB, Some(1025), 512).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("echo 513 > /proc/sys/vm/nr_hugepages") && text.contains("--no-huge"),
            "{text}"
        );
        assert!(check(PageSize::Huge2MiB, None, 0).is_err());
        assert!(check(PageSize::Base, Some(1025), 512).is_err());
    }

    #[test]
    fn the_budget_is_what_was_asked_for_or_what_there_is() {
        assert_eq!(check(PageSize::Huge2MiB, Some(64), 512), Ok(64 << 20));
        assert_eq!(check(PageSize::Huge2MiB, None, 512), Ok(512 << 20));
        assert_eq!(check(PageSize::Base, None, 512), Ok(256 << 20));
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(available_mib() > 0);
        assert!(budget(PageSize::Base, None).unwrap() > 0);
    }
}

//! Check for free memory before a VM starts: a clearer error than that of the allocation.

use crate::error::VmError;
use crate::spec::{MemoryPages, VmName};

/// Checks that `needed_mib` are free in pages of that size. Others may take them before the VM starts.
pub(crate) fn check(name: &VmName, needed_mib: u64, pages: MemoryPages) -> Result<(), VmError> {
    let meminfo = std::fs::read_to_string("/proc/meminfo");
    let meminfo = meminfo.map_err(|error| VmError::system("/proc/meminfo", &error))?;
    let name = || name.to_string();
    match pages {
        MemoryPages::Huge => match free_hugepages_mib(&meminfo) {
            free_mib if free_mib < needed_mib => {
                Err(VmError::Hugepages { name: name(), needed_mib, free_mib })
            }
            _ => Ok(()),
        },
        MemoryPages::Base => match value(&meminfo, "MemAvailable") >> 10 {
            free_mib if free_mib < needed_mib => {
                Err(VmError::MemoryShort { name: name(), needed_mib, free_mib })
            }
            _ => Ok(()),
        },
    }
}

/// Memory in hugepages that are neither used nor reserved.
fn free_hugepages_mib(meminfo: &str) -> u64 {
    let pages = value(meminfo, "HugePages_Free").saturating_sub(value(meminfo, "HugePages_Rsvd"));
    if value(meminfo, "Hugepagesize") == 2048 { pages.saturating_mul(2) } else { 0 }
}

fn value(meminfo: &str, key: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_pages_are_not_free() {
        let text = "MemFree: 9 kB\nHugePages_Total:     300\nHugePages_Free:      200\n\
                    HugePages_Rsvd:       50\nHugepagesize:       2048 kB\n";
        assert_eq!(free_hugepages_mib(text), 300);
        assert_eq!(free_hugepages_mib(&text.replace("2048", "1048576")), 0);
        assert_eq!(free_hugepages_mib(""), 0);
    }

    #[test]
    fn a_vm_larger_than_any_machine_is_refused_with_what_it_needs() {
        let name = VmName::new("big").unwrap();
        let error = check(&name, 1 << 40, MemoryPages::Huge).unwrap_err();
        assert!(matches!(error, VmError::Hugepages { needed_mib, .. } if needed_mib == 1 << 40), "{error}");
        let error = check(&name, 1 << 40, MemoryPages::Base).unwrap_err();
        assert!(matches!(error, VmError::MemoryShort { needed_mib, .. } if needed_mib == 1 << 40), "{error}");
        assert_eq!(check(&name, 2, MemoryPages::Base), Ok(()));
    }
}

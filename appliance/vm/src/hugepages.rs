//! Check for free hugepages before a VM starts, for a clearer error than QEMU's.

use crate::error::VmError;
use crate::spec::VmName;

/// Checks that `needed_mib` of 2 MiB pages are free. Other processes may take them before the VM starts.
pub(crate) fn check(name: &VmName, needed_mib: u64) -> Result<(), VmError> {
    let meminfo = std::fs::read_to_string("/proc/meminfo");
    let meminfo = meminfo.map_err(|error| VmError::system("/proc/meminfo", &error))?;
    let free_mib = free_mib(&meminfo);
    if free_mib >= needed_mib {
        return Ok(());
    }
    Err(VmError::Hugepages { name: name.to_string(), needed_mib, free_mib })
}

/// Memory in hugepages that are neither used nor reserved.
fn free_mib(meminfo: &str) -> u64 {
    let value = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let pages = value("HugePages_Free").saturating_sub(value("HugePages_Rsvd"));
    if value("Hugepagesize") == 2048 { pages.saturating_mul(2) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_pages_are_not_free() {
        let text = "MemFree: 9 kB\nHugePages_Total:     300\nHugePages_Free:      200\n\
                    HugePages_Rsvd:       50\nHugepagesize:       2048 kB\n";
        assert_eq!(free_mib(text), 300);
        assert_eq!(free_mib(&text.replace("2048", "1048576")), 0);
        assert_eq!(free_mib(""), 0);
    }

    #[test]
    fn a_vm_larger_than_any_machine_is_refused_with_what_it_needs() {
        let name = VmName::new("big").unwrap();
        let error = check(&name, 1 << 40).unwrap_err();
        assert!(matches!(error, VmError::Hugepages { needed_mib, .. } if needed_mib == 1 << 40), "{error}");
    }
}

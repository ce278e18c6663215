//! Memory of this host, which bounds what a front end may announce.

use rustix::system::sysinfo;

/// Bytes of memory, hugepages and swap included: no guest has more that is there at the same time.
pub(crate) fn total_bytes() -> u64 {
    let info = sysinfo();
    let units = info.totalram.saturating_add(info.totalswap);
    units.saturating_mul(info.mem_unit.max(1).into())
}

/// Bytes of small pages that can be allocated now without swapping; none where the kernel does not tell.
pub(crate) fn available_bytes() -> Option<u64> {
    available_in(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// The amount in the text of `/proc/meminfo`.
fn available_in(text: &str) -> Option<u64> {
    let amount = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = amount.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_amount_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal:       24683744 kB\nMemAvailable:   23586868 kB\nBuffers: 0 kB\n";
        assert_eq!(available_in(text), Some(23_586_868 * 1024));
        assert_eq!(available_in("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn what_is_available_is_less_than_all() {
        let available = available_bytes().unwrap();
        assert!(available > 0);
        assert!(available < total_bytes());
    }
}

//! Default choice of the CPUs that serve disks.

/// CPUs that serve disks by default: a quarter of the available ones, at least one, spread evenly. The
/// first CPU is left to the kernel and the control thread, unless it is the only one; the VMs share
/// the CPUs that do not serve.
#[must_use]
pub fn serving_cpus(available: &[u16]) -> Vec<u16> {
    let Some((first, others)) = available.split_first() else { return Vec::new() };
    if others.is_empty() {
        return vec![*first];
    }
    let count = available.len().div_ceil(4);
    let step = others.len() / count;
    others.iter().copied().step_by(step.max(1)).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(count: u16) -> Vec<u16> {
        serving_cpus(&(0..count).collect::<Vec<_>>())
    }

    #[test]
    fn a_quarter_serves_and_the_first_only_if_it_is_alone() {
        assert!(chosen(0).is_empty());
        assert_eq!(chosen(1), [0]);
        assert_eq!(chosen(2), [1]);
        assert_eq!(chosen(4), [1]);
        assert_eq!(chosen(8), [1, 4]);
        assert_eq!(chosen(16), [1, 4, 7, 10]);
        for count in 2..300 {
            let cpus = chosen(count);
            assert_eq!(cpus.len(), usize::from(count.div_ceil(4)), "{count}");
            assert!(cpus.iter().all(|cpu| (1..count).contains(cpu)), "{cpus:?}");
            assert!(cpus.is_sorted(), "{cpus:?}");
        }
    }

    #[test]
    fn the_numbers_of_cpus_may_have_gaps() {
        assert_eq!(serving_cpus(&[2, 5, 9]), [5]);
    }
}

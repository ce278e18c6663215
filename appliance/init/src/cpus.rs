//! Default choice of the CPUs that serve disks: those that the kernel has isolated, else a quarter.

/// Chooses one CPU of each physical core, the first. `siblings` lists the CPUs of a CPU's core.
pub fn one_of_each_core(cpus: &[u16], siblings: impl Fn(u16) -> Vec<u16>) -> Vec<u16> {
    let has_earlier = |cpu: u16| siblings(cpu).iter().any(|other| *other < cpu && cpus.contains(other));
    cpus.iter().copied().filter(|&cpu| !has_earlier(cpu)).collect()
}

/// CPUs that serve disks where none are isolated: a quarter of the available ones, at least one, spread evenly. The
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
    fn of_isolated_threads_of_a_core_the_first_serves() {
        // Eight cores with two threads each: 0 and 8, 1 and 9, ...
        let siblings = |cpu: u16| vec![cpu % 8, cpu % 8 + 8];
        assert_eq!(one_of_each_core(&[1, 5, 9, 13], siblings), [1, 5]);
        assert_eq!(one_of_each_core(&[9, 12], siblings), [9, 12], "their siblings are not isolated");
        assert_eq!(one_of_each_core(&[1, 2], |_| Vec::new()), [1, 2], "a kernel that does not say");
    }

    #[test]
    fn the_numbers_of_cpus_may_have_gaps() {
        assert_eq!(serving_cpus(&[2, 5, 9]), [5]);
    }
}

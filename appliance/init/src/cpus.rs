//! Which CPUs serve disks, where nobody says.

/// Chooses among the CPUs there are, in order: one of four, at least one, spread evenly, and never
/// the first, which has the kernel's own work, the control thread and, with the others that
/// are left, the virtual machines. With a single CPU that one does everything.
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
    fn one_in_four_serves_and_the_first_only_if_it_is_alone() {
        assert!(chosen(0).is_empty());
        assert_eq!(chosen(1), [0]);
        assert_eq!(chosen(2), [1]);
        assert_eq!(chosen(4), [1]);
        assert_eq!(chosen(8), [1, 4]);
        assert_eq!(chosen(16), [1, 4, 7, 10]);
        for count in 2..300 {
            let cpus = chosen(count);
            assert_eq!(cpus.len(), usize::from(count.div_ceil(4)), "{count}");
            assert!(cpus.iter().all(|cpu| (1..count).contains(cpu)) && cpus.is_sorted(), "{count}");
        }
    }

    #[test]
    fn numbers_with_holes_are_taken_as_they_are() {
        assert_eq!(serving_cpus(&[2, 5, 9]), [5]);
    }
}

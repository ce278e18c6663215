//! CPUs of a comparison: for the servers, the load generator and neighbours.

use luge_qemu_test::TestError;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// CPUs of a comparison: two different ones, and where there are three, a third one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    pub(crate) server: u16,
    pub(crate) generator: u16,
    /// CPU of the neighbours of a victim.
    pub(crate) neighbours: u16,
}

impl Cpus {
    /// Chooses the first and the last CPU that this process may use, and the second one for neighbours.
    ///
    /// # Errors
    /// If there is only one.
    pub(crate) fn choose() -> Result<Self, TestError> {
        let may = sched_getaffinity(None).map_err(failed)?;
        let mut ours = (0..u16::MAX).take(CpuSet::MAX_CPU).filter(|&cpu| may.is_set(cpu.into()));
        match (ours.next(), ours.next_back()) {
            (Some(server), Some(generator)) => {
                Ok(Self { server, generator, neighbours: ours.next().unwrap_or(generator) })
            }
            _ => Err(TestError::Host(
                "a comparison needs two CPUs, one for the server and one for the load generator".to_owned(),
            )),
        }
    }
}

/// Does `work` on `cpu`; threads and processes that it starts stay there.
///
/// # Errors
/// Errors of `work`, or if the CPU cannot be used.
pub(crate) fn on<T>(cpu: u16, work: impl FnOnce() -> Result<T, TestError>) -> Result<T, TestError> {
    let before = sched_getaffinity(None).map_err(failed)?;
    let mut only = CpuSet::new();
    only.set(cpu.into());
    sched_setaffinity(None, &only).map_err(failed)?;
    let result = work();
    sched_setaffinity(None, &before).map_err(failed)?;
    result
}

fn failed(errno: rustix::io::Errno) -> TestError {
    TestError::Io { doing: "choosing CPUs".to_owned(), source: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_on_the_cpu_that_was_chosen_and_only_there() {
        let before = sched_getaffinity(None).unwrap();
        let cpu = (0..CpuSet::MAX_CPU).rfind(|&cpu| before.is_set(cpu)).unwrap();
        let seen = on(u16::try_from(cpu).unwrap(), || Ok(sched_getaffinity(None).unwrap())).unwrap();
        assert!(seen.count() == 1 && seen.is_set(cpu));
        assert_eq!(sched_getaffinity(None).unwrap().count(), before.count());
    }
}

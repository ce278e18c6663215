//! Budget of the process's file descriptors.
//!
//! A front end's queue takes five: its kick, and an eventfd and an io_uring each for its call and its error (`notify`). Its
//! descriptors are promised together when it is first mentioned, so that a front end is refused at once
//! instead of in the middle of its start. What is not promised is left to everything else: RPC connections,
//! cores, SSDs, files, VMs.
//!
//! Invariants
//! - Promises never exceed the limit less [`KEPT`].
//! - Nothing is promised that is in use for something else already.

use rustix::fs::stat;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// Descriptors that are never promised: 128 for RPC connections, the others for cores, SSDs, files and VMs.
const KEPT: u64 = 224;

/// Descriptors that must be unused when others are promised: those for calls that are under way.
const SPARE: u64 = 32;

/// Bound to which the limit of descriptors is raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ceiling {
    /// The hard limit that the process was given.
    HardLimit,
    /// The kernel's limit for any process; the hard limit where that is not allowed.
    Kernel,
}

/// Refusal of a promise.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error(
    "too few file descriptors: {wanted} more are needed; of {limit}, {promised} are promised to front ends, {KEPT} \
     kept for everything else, and {in_use} in use; raise the limit (ulimit -Hn, LimitNOFILE=), or give vhost \
     controllers fewer queues (num_queues)"
)]
pub struct TooFewDescriptors {
    /// Number that was asked for.
    pub wanted: u64,
    /// Limit of the process.
    pub limit: u64,
    /// Number that was promised to others.
    pub promised: u64,
    /// Number in use.
    pub in_use: u64,
}

/// Budget of file descriptors.
#[derive(Debug)]
pub struct Descriptors {
    limit: u64,
    promised: Mutex<u64>,
    /// Counts the descriptors in use.
    in_use: fn() -> u64,
}

impl Descriptors {
    /// Raises the limit of this process as far as it may; returns its budget.
    #[must_use]
    pub fn of_this_process(ceiling: Ceiling) -> Arc<Self> {
        Self::new(raise_limit(ceiling), in_use)
    }

    /// Budget of a process with another limit, of which nothing is in use.
    #[must_use]
    pub fn with_limit(limit: u64) -> Arc<Self> {
        Self::new(limit, || 0)
    }

    fn new(limit: u64, in_use: fn() -> u64) -> Arc<Self> {
        Arc::new(Self { limit, promised: Mutex::default(), in_use })
    }

    /// Limit of the process.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Promises `count` descriptors, until the promise is dropped.
    ///
    /// # Errors
    /// [`TooFewDescriptors`].
    pub fn promise(self: &Arc<Self>, count: u64) -> Result<Promise, TooFewDescriptors> {
        let mut promised = self.lock();
        let sum = promised.saturating_add(count);
        let in_use = (self.in_use)();
        let needed = in_use.saturating_add(count).saturating_add(SPARE);
        if sum.saturating_add(KEPT) > self.limit || needed > self.limit {
            return Err(TooFewDescriptors { wanted: count, limit: self.limit, promised: *promised, in_use });
        }
        *promised = sum;
        drop(promised);
        Ok(Promise { descriptors: self.clone(), count })
    }

    /// Error to report if descriptors have run out all the same; none if there are some.
    #[must_use]
    pub fn exhaustion(&self) -> Option<TooFewDescriptors> {
        let (in_use, promised) = ((self.in_use)(), *self.lock());
        let shortage = TooFewDescriptors { wanted: 1, limit: self.limit, promised, in_use };
        (in_use.saturating_add(SPARE) > self.limit).then_some(shortage)
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Descriptors that are promised. Dropping it returns them.
#[derive(Debug)]
#[must_use]
pub struct Promise {
    descriptors: Arc<Descriptors>,
    count: u64,
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut promised = self.descriptors.lock();
        *promised = promised.saturating_sub(self.count);
    }
}

/// Raises the limit of this process; returns the limit that it has then.
fn raise_limit(ceiling: Ceiling) -> u64 {
    let present = getrlimit(Resource::Nofile);
    let highest = match ceiling {
        Ceiling::HardLimit => present.maximum,
        Ceiling::Kernel => kernel_limit().max(present.maximum),
    };
    let raised = try_limit(highest).or_else(|_| try_limit(present.maximum));
    raised.ok().or(present.current).unwrap_or(u64::MAX)
}

fn try_limit(limit: Option<u64>) -> Result<u64, Errno> {
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })?;
    Ok(limit.unwrap_or(u64::MAX))
}

/// Highest limit that the kernel gives to a process.
fn kernel_limit() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/fs/nr_open").ok()?.trim().parse().ok()
}

/// Counts this process's open descriptors; 0 where there is no /proc.
fn in_use() -> u64 {
    let size = stat("/proc/self/fd").map_or(0, |stat| stat.st_size);
    match u64::try_from(size) {
        Ok(open) if open > 0 => open,
        // Kernels before 6.2 give no size.
        _ => match std::fs::read_dir("/proc/self/fd") {
            Ok(files) => files.count() as u64,
            Err(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => u64::MAX,
            Err(_) => 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_end_where_the_kept_descriptors_begin_and_return_when_dropped() {
        let descriptors = Descriptors::with_limit(KEPT + 10);
        let first = descriptors.promise(8).unwrap();
        let _second = descriptors.promise(2).unwrap();
        assert_eq!(
            descriptors.promise(1).unwrap_err(),
            TooFewDescriptors { wanted: 1, limit: KEPT + 10, promised: 10, in_use: 0 }
        );
        drop(first);
        let _third = descriptors.promise(8).unwrap();
    }

    #[test]
    fn a_refusal_names_the_limit_and_the_remedy() {
        let error = Descriptors::with_limit(100).promise(3).unwrap_err().to_string();
        assert!(error.contains("of 100, 0 are promised"), "{error}");
        assert!(error.contains("LimitNOFILE="), "{error}");
        assert!(error.contains("num_queues"), "{error}");
    }

    #[test]
    fn descriptors_that_others_use_are_not_promised() {
        let descriptors = Descriptors::new(1000, || 960);
        let _fits = descriptors.promise(8).unwrap();
        assert!(descriptors.promise(9).is_err());
        assert!(descriptors.exhaustion().is_none());
        assert!(Descriptors::new(1000, || 969).exhaustion().is_some());
    }

    #[test]
    fn open_files_are_counted() {
        let before = in_use();
        let _files: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        assert!(in_use() >= before.saturating_sub(50) + 100);
    }

    #[test]
    fn the_limit_is_raised_to_the_hard_limit() {
        let hard = getrlimit(Resource::Nofile).maximum;
        assert_eq!(raise_limit(Ceiling::HardLimit), hard.unwrap_or(u64::MAX));
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }
}

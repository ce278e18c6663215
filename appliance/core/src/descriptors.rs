//! Budget of the process's file descriptors.
//!
//! All that may be there in any number has its descriptors promised before it is made: cores, SSDs, block devices,
//! VMs, endpoints, queues of front ends and of NVMe controllers, regions of guest memory. So each is refused at
//! once and with a reason, instead of in the middle of its start, and takes nothing that others were promised.
//! What is not promised is left to what has bounds of its own: RPC connections, and calls that are under way.
//!
//! Invariants
//! - Promises never exceed the limit less [`KEPT`].
//! - Nothing is promised that is in use for something else already.

use rustix::fs::stat;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// Descriptors that are never promised: 128 for RPC connections, the others for calls that are under way, for the log
/// and the like.
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
    "too few file descriptors: {wanted} more are needed; of {limit}, {promised} are promised to disks, SSDs, VMs and \
     front ends, {KEPT} kept for RPC connections and calls, and {in_use} in use; raise the limit (ulimit -Hn, \
     LimitNOFILE=), or give vhost controllers fewer queues (num_queues)"
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
        let mut promise = Promise::of_none(self);
        promise.add(count)?;
        Ok(promise)
    }

    /// Adds to what is promised, if there are as many left.
    fn add(&self, count: u64) -> Result<(), TooFewDescriptors> {
        if count == 0 {
            return Ok(());
        }
        let mut promised = self.lock();
        let sum = promised.saturating_add(count);
        let in_use = (self.in_use)();
        let needed = in_use.saturating_add(count).saturating_add(SPARE);
        if sum.saturating_add(KEPT) > self.limit || needed > self.limit {
            return Err(TooFewDescriptors { wanted: count, limit: self.limit, promised: *promised, in_use });
        }
        *promised = sum;
        Ok(())
    }

    fn give_back(&self, count: u64) {
        let mut promised = self.lock();
        *promised = promised.saturating_sub(count);
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

impl Promise {
    /// Promise of no descriptors, which may become larger.
    pub fn of_none(descriptors: &Arc<Descriptors>) -> Self {
        Self { descriptors: descriptors.clone(), count: 0 }
    }

    /// Promises more, or returns some, so that it is of `count` descriptors.
    ///
    /// # Errors
    /// [`TooFewDescriptors`]; it is of as many as before then. Fewer are never refused.
    pub fn resize(&mut self, count: u64) -> Result<(), TooFewDescriptors> {
        match count.checked_sub(self.count) {
            Some(more) => self.add(more),
            None => {
                self.descriptors.give_back(self.count.saturating_sub(count));
                self.count = count;
                Ok(())
            }
        }
    }

    fn add(&mut self, more: u64) -> Result<(), TooFewDescriptors> {
        self.descriptors.add(more)?;
        self.count = self.count.saturating_add(more);
        Ok(())
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.descriptors.give_back(self.count);
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
    fn a_promise_becomes_larger_as_far_as_there_are_descriptors_and_smaller_in_any_case() {
        let descriptors = Descriptors::with_limit(KEPT + 10);
        let mut promise = descriptors.promise(4).unwrap();
        promise.resize(10).unwrap();
        assert!(promise.resize(11).is_err());
        assert!(descriptors.promise(1).is_err(), "it has ten");
        promise.resize(3).unwrap();
        let _rest = descriptors.promise(7).unwrap();
        drop(promise);
        let _all = descriptors.promise(3).unwrap();
    }

    #[test]
    fn a_promise_of_none_is_never_refused() {
        let descriptors = Descriptors::with_limit(0);
        assert!(descriptors.promise(0).is_ok());
        assert!(descriptors.promise(1).is_err());
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

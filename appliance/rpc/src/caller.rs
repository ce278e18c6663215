//! Callers: the clients of calls, which may disconnect before the answer is ready.

use crate::RpcError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Maximum number of clients' calls that wait for events at a time: half of the connections. The other
/// half stays free for calls that end by themselves.
pub(crate) const WAITING_MAX: usize = 64;

/// The client of a call.
pub struct Caller<'a> {
    wants_answer: Box<dyn Fn() -> bool + 'a>,
    waiting: Option<Arc<Waiting>>,
}

impl<'a> Caller<'a> {
    /// Interval at which a waiting call checks whether its caller still wants the answer.
    pub const LOOK: Duration = Duration::from_millis(100);

    /// Caller that wants the answer while `wants_answer` returns true.
    pub fn new(wants_answer: impl Fn() -> bool + 'a) -> Self {
        Self { wants_answer: Box::new(wants_answer), waiting: None }
    }

    /// Caller in this process, such as a console, that always wants the answer.
    #[must_use]
    pub fn local() -> Self {
        Self::new(|| true)
    }

    /// Counts this caller's waiting calls in `waiting`, together with those of other callers.
    pub(crate) fn counted(self, waiting: Arc<Waiting>) -> Self {
        Self { waiting: Some(waiting), ..self }
    }

    /// Whether the answer is still wanted.
    #[must_use]
    pub fn wants_answer(&self) -> bool {
        (self.wants_answer)()
    }

    /// Permit that a call must hold while it waits for an event.
    ///
    /// # Errors
    /// -16 if 64 calls of clients wait already.
    pub fn wait_permit(&self) -> Result<WaitPermit, RpcError> {
        let Some(waiting) = &self.waiting else { return Ok(WaitPermit(None)) };
        let permit = WaitPermit(Some(waiting.clone()));
        if waiting.0.fetch_add(1, Ordering::Relaxed) < WAITING_MAX {
            return Ok(permit);
        }
        Err(RpcError::busy(format_args!(
            "{WAITING_MAX} calls wait already: try again, or ask without waiting"
        )))
    }
}

/// Number of clients' calls that wait.
#[derive(Default)]
pub(crate) struct Waiting(AtomicUsize);

/// Permit to wait; dropping it returns it.
#[must_use]
pub struct WaitPermit(Option<Arc<Waiting>>);

impl Drop for WaitPermit {
    fn drop(&mut self) {
        if let Some(waiting) = &self.0 {
            waiting.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_number_of_calls_may_wait_until_one_has_ended() {
        let waiting = Arc::<Waiting>::default();
        let caller = Caller::local().counted(waiting);
        let mut permits: Vec<_> = (0..WAITING_MAX).map(|_| caller.wait_permit().unwrap()).collect();
        for _ in 0..3 {
            assert_eq!(caller.wait_permit().err().unwrap().code.0, -16);
        }
        permits.pop();
        permits.push(caller.wait_permit().unwrap());
        assert!(caller.wait_permit().is_err());
        assert!(Caller::local().wait_permit().is_ok());
    }
}

//! Callers: whoever waits for the answer to a call, and may leave before it is there.

use crate::RpcError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Calls of clients that may wait at one time: half of the places for connections, so that the
/// others stay free for calls that come to an end.
pub(crate) const WAITING_MAX: usize = 64;

/// Whoever waits for the answer to a call.
pub struct Caller<'a> {
    wants_answer: Box<dyn Fn() -> bool + 'a>,
    waiting: Option<Arc<Waiting>>,
}

impl<'a> Caller<'a> {
    /// Interval at which a call that waits looks whether its caller still wants the answer.
    pub const LOOK: Duration = Duration::from_millis(100);

    /// A caller that wants the answer for as long as `wants_answer` says so.
    pub fn new(wants_answer: impl Fn() -> bool + 'a) -> Self {
        Self { wants_answer: Box::new(wants_answer), waiting: None }
    }

    /// A caller in this process that never leaves: a console.
    #[must_use]
    pub fn local() -> Self {
        Self::new(|| true)
    }

    /// A caller among others whose waiting calls are counted together.
    pub(crate) fn counted(self, waiting: Arc<Waiting>) -> Self {
        Self { waiting: Some(waiting), ..self }
    }

    /// Whether the answer is still wanted.
    #[must_use]
    pub fn wants_answer(&self) -> bool {
        (self.wants_answer)()
    }

    /// Takes the permit that a call needs for as long as it waits for what others do.
    ///
    /// # Errors
    /// -16 if too many calls of clients wait already.
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

/// Number of calls of clients that wait.
#[derive(Default)]
pub(crate) struct Waiting(AtomicUsize);

/// Permission to wait, given back when dropped.
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
    fn so_many_callers_may_wait_and_no_more_until_one_has_ended() {
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

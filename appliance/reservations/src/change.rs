//! Changes that are over when every core obeys them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Function that a core, or the thread that began a change, calls once when the change is over. Waits for nothing.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

struct Progress {
    /// Receipts that are not given back.
    left: AtomicUsize,
    waker: Waker,
}

/// A change, of rights for example, on its way to the cores. May be dropped before it is over, which does not stop it.
pub struct Change(Arc<Progress>);

impl Change {
    /// A change, and the first of its receipts. It is over when all receipts were dropped.
    #[must_use]
    pub fn begin(waker: Waker) -> (Self, Receipt) {
        let progress = Arc::new(Progress { left: AtomicUsize::new(1), waker });
        (Self(progress.clone()), Receipt(progress))
    }

    /// Whether every core obeys the change, and what it aborts has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        // Acquire: what cores did before they gave their receipts back has happened.
        self.0.left.load(Ordering::Acquire) == 0
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}

/// Something that a change waits for: it drops the receipt when it is done.
pub struct Receipt(Arc<Progress>);

impl Receipt {
    /// One more for the same change.
    #[must_use]
    pub fn another(&self) -> Self {
        self.0.left.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        // Release: see `Change::is_over`; Acquire: the waker may look at what other cores did.
        if self.0.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            (self.0.waker)();
        }
    }
}

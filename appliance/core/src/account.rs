//! Accounts: what each tenant has used of a core.

use crate::tenant::Tenant;
use luge_trace::{Event, Kind, record};
use luge_volume::{Ticks, Work};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Visit that is worth an event in the trace: a core's turn takes a few microseconds.
const LONG: Duration = Duration::from_millis(1);

/// Account of a tenant on one core. Written by that core only, read by anybody.
#[derive(Debug)]
pub struct Account {
    tenant: Tenant,
    /// Name of the tenant, for the trace.
    name: Box<str>,
    work: AtomicU64,
    visits: AtomicU64,
    longest_ticks: AtomicU64,
}

impl Account {
    fn new(tenant: Tenant) -> Self {
        Self {
            name: tenant.to_string().into(),
            tenant,
            work: AtomicU64::new(0),
            visits: AtomicU64::new(0),
            longest_ticks: AtomicU64::new(0),
        }
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Work that was done for the tenant, in units of [`Work`].
    #[must_use]
    pub fn work(&self) -> u64 {
        self.work.load(Relaxed)
    }

    /// Turns in which something was done for the tenant.
    #[must_use]
    pub fn visits(&self) -> u64 {
        self.visits.load(Relaxed)
    }

    /// Longest time of one turn that the tenant's requests were being taken, in ticks of the time stamp counter.
    #[must_use]
    pub fn longest_ticks(&self) -> u64 {
        self.longest_ticks.load(Relaxed)
    }

    /// Adds work that took so many ticks.
    #[inline]
    pub(crate) fn charge(&self, work: Work, ticks: u64) {
        self.work.store(self.work().wrapping_add(work.0.into()), Relaxed);
        self.visits.store(self.visits().wrapping_add(1), Relaxed);
        if ticks > self.longest_ticks() {
            self.longest_ticks.store(ticks, Relaxed);
            self.note_longest(Ticks(ticks).since(Ticks(0)));
        }
    }

    /// Notes the tenant's longest visit in the trace, if it was long.
    #[cold]
    fn note_longest(&self, lasted: Duration) {
        if lasted > LONG {
            record(&Event::of_duration(Kind::LONG_VISIT, lasted, &self.name));
        }
    }
}

/// Accounts of the tenants that have rings on a core.
#[derive(Debug, Default)]
pub struct Accounts(Mutex<Vec<Weak<Account>>>);

impl Accounts {
    /// The account of a tenant, opened for its first ring.
    #[must_use]
    pub fn of(&self, tenant: &Tenant) -> Arc<Account> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.retain(|account| account.strong_count() > 0);
        let open = accounts.iter().filter_map(Weak::upgrade).find(|account| account.tenant == *tenant);
        open.unwrap_or_else(|| {
            let account = Arc::new(Account::new(tenant.clone()));
            accounts.push(Arc::downgrade(&account));
            account
        })
    }

    /// All accounts.
    pub(crate) fn all(&self) -> Vec<Arc<Account>> {
        let accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.iter().filter_map(Weak::upgrade).collect()
    }
}

//! Log of tenants whose requests have kept a core from the others for long.
//!
//! Path: none. A thread reads the cores' accounts once a second. It writes a line where a tenant's longest turn has
//! doubled since the last line about that tenant and core, so that a hostile one fills no log.
//!
//! Not here: waits for a guest's memory, which its endpoint logs (`vhost`).

use luge_core::{CoreHandle, Tenant, Ticks};
use std::collections::HashMap;
use std::time::Duration;

/// Time that no tenant's requests take in one turn, unless something is wrong.
const LONG: Duration = Duration::from_millis(2);

/// Longest turns that have been logged, by core and tenant.
#[derive(Default)]
pub struct StallLog(HashMap<(u16, Tenant), Duration>);

impl StallLog {
    /// Logs what is new in the accounts of the cores; forgets tenants that have left.
    pub fn look(&mut self, cores: &[CoreHandle]) {
        let mut present = HashMap::new();
        for core in cores {
            for account in core.accounts() {
                let key = (core.id().0, account.tenant().clone());
                let longest = Ticks(account.longest_ticks()).since(Ticks(0));
                present.insert(key, longest);
            }
        }
        self.0.retain(|key, _| present.contains_key(key));
        for ((core, tenant), longest) in present {
            if self.is_news(core, &tenant, longest) {
                tracing::warn!(
                    "core {core}: requests of {tenant} have kept it from all others for {longest:?} in one turn"
                );
            }
        }
    }

    /// Whether a longest turn is to be logged; notes it then.
    fn is_news(&mut self, core: u16, tenant: &Tenant, longest: Duration) -> bool {
        let logged = self.0.entry((core, tenant.clone())).or_default();
        let is_news = longest >= LONG && longest >= *logged * 2;
        if is_news {
            *logged = longest;
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_named_when_its_longest_turn_is_long_and_again_when_it_has_doubled() {
        let (mut log, tenant) = (StallLog::default(), Tenant::Owner("a".into()));
        let lines = [1, 2, 3, 3, 4, 7, 8, 100].map(|ms| log.is_news(0, &tenant, Duration::from_millis(ms)));
        assert_eq!(lines, [false, true, false, false, true, false, true, true]);
        assert!(log.is_news(1, &tenant, LONG), "another core");
        assert!(log.is_news(0, &Tenant::Owner("b".into()), LONG), "another tenant");
    }
}

//! Room of a channel whose requests stay there for a while, shared among tenants.
//!
//! Path: session -> volume -> **shares of the room** -> channel.
//!
//! What a device has taken cannot be taken back, so that a tenant does not get all of the room if others may come. A
//! tenant may always have its equal part: of a room for `n` requests, `15/16 n/t` where `t` tenants have had requests
//! lately. It may have more as far as the others have had less. So a slow request keeps no more room than a fast one,
//! whoever came first. A sixteenth stays free, for whoever comes next. A tenant that is alone on a channel may take all of
//! it.
//!
//! Invariants
//! - A tenant with nothing in the channel gets some of the room, if there is any.
//! - A request counts from the moment that the channel takes it until the channel hands out its completion.

use crate::{TenantNumber, Ticks};
use std::time::Duration;

/// Number of parts of a channel's room, of which one stays free.
const FREE_PART: usize = 16;

/// Time after which a tenant's largest number of requests is forgotten, and at most twice as long.
const PERIOD: Duration = Duration::from_millis(10);

/// The tenants of a channel.
pub(crate) struct Shares {
    shares: Vec<Share>,
    /// Number of tenants that have volumes on the channel.
    tenants: usize,
    /// Number of requests of tenants in the channel.
    requests: usize,
    /// Sum of [`Share::most`].
    most: usize,
    /// Number of tenants where that is not zero.
    active: usize,
    period_end: Ticks,
}

/// A tenant's volumes on a channel, and its requests there.
#[derive(Clone, Default)]
struct Share {
    volumes: usize,
    requests: usize,
    /// Largest number of requests in this period and the one before; one at least if it has asked for room.
    most: usize,
    /// Largest number of requests in this period.
    most_now: usize,
}

impl Share {
    /// Adds requests; returns by how much its largest number has grown.
    #[inline]
    fn enter(&mut self, requests: usize) -> usize {
        self.requests += requests;
        self.most_now = self.most_now.max(self.requests);
        let growth = self.most_now.saturating_sub(self.most);
        self.most += growth;
        growth
    }

    /// Forgets its largest number of the period before.
    fn begin_period(&mut self) {
        self.most = self.most_now;
        self.most_now = self.requests;
    }
}

impl Shares {
    /// Shares of so many tenants, none of which has anything on the channel.
    pub(crate) fn of(tenants: usize) -> Self {
        let shares = vec![Share::default(); tenants];
        Self { shares, tenants: 0, requests: 0, most: 0, active: 0, period_end: Ticks::PAST }
    }

    /// Makes a place for each of so many tenants.
    pub(crate) fn reach(&mut self, tenants: usize) {
        if self.shares.len() < tenants {
            self.shares.resize(tenants, Share::default());
        }
    }

    /// Number of requests that a tenant may add at the time `now` to a channel that has room for `free`.
    #[inline]
    pub(crate) fn room(&mut self, free: usize, tenant: Option<TenantNumber>, now: Ticks) -> usize {
        if self.tenants < 2 { free } else { self.part(free, tenant, now) }
    }

    /// Part of the room that is a tenant's, if others have volumes on the channel.
    #[inline(never)]
    fn part(&mut self, free: usize, tenant: Option<TenantNumber>, now: Ticks) -> usize {
        if now >= self.period_end {
            self.begin_period(now);
        }
        let all = free + self.requests;
        let shared = all.saturating_sub(all.div_ceil(FREE_PART)).max(1);
        let Some(share) = tenant.and_then(|tenant| self.shares.get_mut(tenant.index())) else { return free };
        if share.most == 0 {
            // It wants one at least, and may get none now.
            share.most = 1;
            self.most += 1;
            self.active += 1;
        }
        let equal = shared.div_ceil(self.active);
        let left_by_others = shared.saturating_sub(self.most - share.most);
        equal.max(left_by_others).saturating_sub(share.requests).min(free)
    }

    #[cold]
    fn begin_period(&mut self, now: Ticks) {
        self.period_end = now + PERIOD;
        self.shares.iter_mut().for_each(Share::begin_period);
        self.most = self.shares.iter().map(|share| share.most).sum();
        self.active = self.shares.iter().filter(|share| share.most > 0).count();
    }

    /// Counts requests that the channel has taken.
    #[inline]
    pub(crate) fn enter(&mut self, tenant: Option<TenantNumber>, requests: usize) {
        let Some(share) = tenant.and_then(|tenant| self.shares.get_mut(tenant.index())) else { return };
        let was_active = share.most > 0;
        self.most += share.enter(requests);
        self.active += usize::from(!was_active && share.most > 0);
        self.requests += requests;
    }

    /// Counts requests whose completions the channel has handed out.
    #[inline]
    pub(crate) fn leave(&mut self, tenant: Option<TenantNumber>, requests: usize) {
        let Some(share) = tenant.and_then(|tenant| self.shares.get_mut(tenant.index())) else { return };
        share.requests -= requests;
        self.requests -= requests;
    }

    /// Adds a volume of a tenant.
    pub(crate) fn add_volume(&mut self, tenant: Option<TenantNumber>) {
        let Some(share) = tenant.and_then(|tenant| self.shares.get_mut(tenant.index())) else { return };
        self.tenants += usize::from(share.volumes == 0);
        share.volumes += 1;
    }

    /// Removes a volume of a tenant, of which the channel has no requests.
    pub(crate) fn remove_volume(&mut self, tenant: Option<TenantNumber>) {
        let Some(share) = tenant.and_then(|tenant| self.shares.get_mut(tenant.index())) else { return };
        share.volumes -= 1;
        self.tenants -= usize::from(share.volumes == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = usize::MAX;

    /// A channel with room for so many requests, and its tenants.
    struct Room {
        shares: Shares,
        free: usize,
        now: Ticks,
    }

    impl Room {
        /// Room for `tenants` tenants with a volume each.
        fn new(free: usize, tenants: u16) -> Self {
            let mut shares = Shares::of(tenants.into());
            (0..tenants).for_each(|tenant| shares.add_volume(Some(TenantNumber(tenant))));
            Self { shares, free, now: Ticks(1) }
        }

        /// Adds as many of a tenant's requests as it may, at most `wanted`; returns how many.
        fn take(&mut self, tenant: u16, wanted: usize) -> usize {
            let taken = self.shares.room(self.free, Some(TenantNumber(tenant)), self.now).min(wanted);
            self.shares.enter(Some(TenantNumber(tenant)), taken);
            self.free -= taken;
            taken
        }

        /// Adds all of a tenant's requests that it may.
        fn fill(&mut self, tenant: u16) {
            self.take(tenant, ALL);
        }

        fn end(&mut self, tenant: u16, requests: usize) {
            self.shares.leave(Some(TenantNumber(tenant)), requests);
            self.free += requests;
        }

        fn has(&self, tenant: u16) -> usize {
            self.shares.shares[usize::from(tenant)].requests
        }

        /// Lets periods pass.
        fn pass(&mut self, periods: u32) {
            for _ in 0..periods {
                self.now = self.now + PERIOD;
                self.shares.begin_period(self.now);
            }
        }
    }

    #[test]
    fn a_tenant_that_is_alone_on_a_channel_may_take_all_of_its_room() {
        assert_eq!(Room::new(1023, 1).take(0, ALL), 1023);
    }

    #[test]
    fn a_tenant_that_is_alone_with_work_leaves_a_sixteenth_for_whoever_comes_next() {
        let mut room = Room::new(1024, 2);
        assert_eq!(room.take(0, ALL), 960);
        assert_eq!(room.take(0, ALL), 0);
        assert_eq!(room.take(1, 32), 32, "the second tenant need not wait");
    }

    #[test]
    fn two_tenants_get_half_each_whoever_came_first() {
        for burst in [1, 7, 200] {
            let mut room = Room::new(1024, 2);
            room.fill(0);
            for _ in 0..1000 {
                room.end(0, room.has(0).min(burst));
                room.end(1, room.has(1).min(burst));
                (0..2).for_each(|tenant| room.fill(tenant));
            }
            assert_eq!(room.has(0), 480, "requests end by {burst}");
            assert_eq!(room.has(1), 480, "requests end by {burst}");
        }
    }

    #[test]
    fn what_a_tenant_does_not_want_is_anothers() {
        let mut room = Room::new(1024, 2);
        assert_eq!(room.take(1, 1), 1);
        assert_eq!(room.take(0, ALL), 959);
        room.end(1, 1);
        assert_eq!(room.take(1, 1), 1, "and the first still gets what it wants");
    }

    #[test]
    fn what_a_tenant_no_longer_wants_is_anothers_after_two_periods() {
        let mut room = Room::new(1024, 2);
        room.fill(0);
        room.end(0, 960);
        room.fill(1);
        assert_eq!(room.has(1), 480);
        room.pass(1);
        assert_eq!(room.take(1, ALL), 0);
        room.pass(1);
        room.fill(1);
        assert_eq!(room.has(1), 960);
    }

    #[test]
    fn ten_tenants_share_few_slots_and_none_of_them_keeps_more_by_slow_requests() {
        let mut room = Room::new(31, 10);
        room.fill(0);
        for _ in 0..1000 {
            // Requests of the first tenant end one by one, those of the others all at once.
            room.end(0, room.has(0).min(1));
            (1..10).for_each(|tenant| room.end(tenant, room.has(tenant)));
            (0..10).for_each(|tenant| room.fill(tenant));
        }
        assert_eq!(room.has(0), 3);
        assert!((1..10).all(|tenant| room.has(tenant) == 3));
    }

    #[test]
    fn a_hundred_tenants_with_less_room_than_tenants_get_some_of_it_by_turns() {
        let mut room = Room::new(31, 100);
        (0..100).for_each(|tenant| room.fill(tenant));
        (0..100).for_each(|tenant| room.end(tenant, room.has(tenant)));
        assert_eq!(room.free, 31);
        let served = (0..100).rev().filter(|&tenant| room.take(tenant, ALL) > 0).count();
        assert_eq!(served, 31, "one each");
    }

    #[test]
    fn a_channel_with_room_for_one_request_serves_all_tenants() {
        let mut room = Room::new(1, 3);
        for tenant in [0, 1, 2, 0, 1, 2] {
            assert_eq!(room.take(tenant, ALL), 1);
            room.end(tenant, 1);
        }
    }

    #[test]
    fn volumes_that_go_leave_the_channel_to_the_others() {
        let mut room = Room::new(100, 2);
        assert!(room.take(0, ALL) < 100);
        room.shares.remove_volume(Some(TenantNumber(1)));
        room.fill(0);
        assert_eq!(room.free, 0);
    }
}

//! Interrupts that are delayed while a queue gets many requests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::{Blocks, NullDevice, Shape};
use luge_core::{Armed, Call, Session};
use luge_vhost::{Coalescing, CoalescingConfig, Notifiers, QueueSession};
use rig::client::new_eventfd;
use rig::{Ask, Bench};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The longest delay, for any rate.
const MOST: CoalescingConfig = CoalescingConfig { delay_base_us: 1000, iops_threshold: 1 };

/// Turns that are more than enough for any test.
const TURNS_MAX: usize = 10_000_000;

struct Paced {
    bench: Bench,
    setting: Coalescing,
    file: Arc<OwnedFd>,
}

impl Paced {
    fn new() -> Self {
        let device = NullDevice::new(Shape::new(512, Blocks(8)).unwrap());
        let (mut bench, setting) = (Bench::new(Arc::new(device)), Coalescing::default());
        let file = new_eventfd();
        let call = Some(Call::new(file.try_clone().unwrap()).unwrap());
        bench.session.queue().coalesce(setting.clone());
        bench.session.queue().connect(Notifiers { call, ..Notifiers::default() });
        let mut paced = Self { bench, setting, file };
        assert_eq!(paced.interrupts(), 1, "a call that is new is signalled");
        paced
    }

    /// Number of interrupts since the last time.
    fn interrupts(&mut self) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(&self.file, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
    }

    fn request(&mut self) {
        self.bench.queue.driver.want_interrupt_after(0);
        let sent = self.bench.send(&Ask::flush());
        self.bench.turn();
        assert!(self.bench.take_answer(&sent).is_some());
    }

    /// Makes requests until an interrupt is held back.
    fn until_held(&mut self) {
        for _ in 0..TURNS_MAX {
            let armed = self.bench.session.arm();
            self.bench.session.disarm();
            if armed == Armed::Waiting {
                return;
            }
            self.interrupts();
            self.request();
        }
        panic!("no interrupt is held back");
    }
}

#[test]
fn without_coalescing_each_batch_has_its_interrupt() {
    let mut paced = Paced::new();
    for _ in 0..100 {
        paced.request();
        assert_eq!(paced.interrupts(), 1);
    }
}

#[test]
fn an_interrupt_that_is_delayed_keeps_the_core_awake_and_comes() {
    let mut paced = Paced::new();
    paced.setting.set(MOST);
    paced.until_held();
    let came = (0..TURNS_MAX).any(|_| {
        paced.bench.turn();
        paced.interrupts() > 0
    });
    assert!(came, "the interrupt never comes");
    assert_eq!(paced.bench.session.arm(), Armed::Quiet);
}

#[test]
fn an_interrupt_that_is_delayed_is_not_lost_when_the_queue_stops() {
    let mut paced = Paced::new();
    paced.setting.set(MOST);
    paced.until_held();
    let before = paced.bench.session.queue().connect(Notifiers::default());
    assert_eq!(paced.interrupts(), 1);
    drop(before);
}

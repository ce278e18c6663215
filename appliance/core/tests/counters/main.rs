//! Compare-and-writes on several cores: numbers that are incremented, of which no increment may be lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sessions;

use luge_block::doubles::{Delayed, Fault, Faulty};
use luge_block::{Blocks, CoreId, Device, MemoryDevice, Shape, Status};
use luge_core::{Attachment, CoreHandle, Session, SessionId, Tenant};
use luge_memory::{DmaSpace, PageSize};
use luge_volume::Volume;
use sessions::{Progress, Single};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

fn is_long_run() -> bool {
    std::env::var_os("LUGE_FUZZ_SECONDS").is_some()
}

/// Increments of all cores together: a million in a long run.
fn increments() -> u64 {
    if is_long_run() { 1_000_000 } else { 3_000 }
}

fn cores() -> [CoreHandle; 2] {
    [0, 1].map(|cpu| CoreHandle::spawn(CoreId(cpu)).expect("the tests run on two CPUs"))
}

fn memory() -> Arc<dyn Device> {
    let shape = Shape::new(512, Blocks(1024)).unwrap();
    Arc::new(MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap())
}

fn volume(device: Arc<dyn Device>) -> Arc<Volume> {
    Arc::new(Volume::whole(device))
}

fn add(core: &CoreHandle, session: Box<dyn Session>) -> SessionId {
    core.add_session(session, &Tenant::Owner("test".into()))
        .unwrap_or_else(|_| panic!("no room for a session"))
}

fn increment(attachment: &Attachment, goal: u64) -> (SessionId, Arc<Progress>) {
    let (session, progress) = Single::incrementing(attachment.volume(), goal);
    (add(attachment.core(), session), progress)
}

fn watch(attachment: &Attachment) -> (SessionId, Arc<Progress>) {
    let (session, progress) = Single::watching(attachment.volume(), u64::MAX);
    (add(attachment.core(), session), progress)
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(if is_long_run() { 3600 } else { 120 });
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// The number in the block: an increment more than those of all sessions.
fn number(attachment: &Attachment, expected: u64) {
    let (session, progress) = Single::incrementing(attachment.volume(), 1);
    let id = add(attachment.core(), session);
    until("the last increment", || progress.is_over());
    drop(attachment.core().remove_session(id));
    let (session, progress) = Single::watching(attachment.volume(), 1);
    let id = add(attachment.core(), session);
    until("a last look", || progress.is_over());
    drop(attachment.core().remove_session(id));
    assert_eq!(progress.seen.load(SeqCst), expected + 1);
}

fn end(cores: &[CoreHandle]) {
    cores.iter().for_each(CoreHandle::stop);
}

#[test]
fn two_cores_lose_no_increment_while_others_use_the_blocks_beside() {
    let (cores, volume) = (cores(), volume(memory()));
    let attachments = cores.each_ref().map(|core| core.attach(&volume).unwrap());
    let goal = increments() / 2;
    let counting = attachments.each_ref().map(|attachment| increment(attachment, goal));
    let (id, watching) = watch(&attachments[1]);
    until("the increments", || counting.iter().all(|(_, progress)| progress.is_over()));
    assert!(watching.done.load(SeqCst) > 0, "the blocks beside were used");
    assert_eq!(watching.wrong.load(SeqCst), 0);
    drop(cores[1].remove_session(id));
    for ((id, progress), core) in counting.iter().zip(&cores) {
        assert_eq!(progress.failed.load(SeqCst), 0);
        assert_eq!(progress.wrong.load(SeqCst), 0);
        drop(core.remove_session(*id));
    }
    number(&attachments[0], 2 * goal);
    drop(attachments);
    end(&cores);
}

#[test]
fn completions_in_any_order_lose_no_increment_of_four_sessions() {
    let (cores, volume) = (cores(), volume(Arc::new(Delayed::new(memory(), 5))));
    let attachments = cores.each_ref().map(|core| core.attach(&volume).unwrap());
    let view = cores[0].attach(&Arc::new(volume.part(luge_block::Lba(0), Blocks(200)).unwrap())).unwrap();
    let of = [&attachments[0], &attachments[1], &attachments[1], &view];
    let counting = of.map(|attachment| (attachment.core(), increment(attachment, 250)));
    until("the increments", || counting.iter().all(|(_, (_, progress))| progress.is_over()));
    counting.iter().for_each(|(core, (id, _))| drop(core.remove_session(*id)));
    number(&attachments[0], 1000);
    drop((attachments, view));
    end(&cores);
}

#[test]
fn a_core_that_sleeps_is_woken_and_agrees() {
    let (cores, volume) = (cores(), volume(memory()));
    let attachments = cores.each_ref().map(|core| core.attach(&volume).unwrap());
    let (id, progress) = increment(&attachments[0], 0);
    for goal in 1..=20 {
        until("both cores sleep", || cores.iter().all(|core| core.stats().asleep()));
        progress.goal.store(goal, SeqCst);
        cores[0].call(|_| ());
        until("an increment", || progress.is_over());
    }
    assert!(cores[1].stats().sleeps() >= 20, "the other core has slept in between");
    drop(cores[0].remove_session(id));
    number(&attachments[0], 20);
    drop(attachments);
    end(&cores);
}

#[test]
fn a_volume_that_comes_and_goes_on_another_core_neither_stops_nor_loses_increments() {
    let (cores, volume) = (cores(), volume(memory()));
    let attachment = cores[0].attach(&volume).unwrap();
    let (id, progress) = increment(&attachment, u64::MAX);
    let mut others = 0;
    for _ in 0..12 {
        let other = cores[1].attach(&volume).unwrap();
        let (other_id, counting) = increment(&other, u64::MAX);
        let before = progress.done.load(SeqCst);
        until("both cores count", || {
            progress.done.load(SeqCst) > before + 3 && counting.done.load(SeqCst) > 3
        });
        // In the middle of an increment, mostly.
        drop(cores[1].remove_session(other_id));
        others += counting.done.load(SeqCst);
        drop(other);
    }
    drop(cores[0].remove_session(id));
    number(&attachment, progress.done.load(SeqCst) + others);
    drop(attachment);
    end(&cores);
}

#[test]
fn a_device_that_fails_now_and_then_loses_no_increment_that_was_answered() {
    let fault = Fault { blocks: 0..1024, per_mille: 100, status: Status::Aborted };
    let (cores, volume) = (cores(), volume(Arc::new(Faulty::new(memory(), 9, &[fault]))));
    let attachments = cores.each_ref().map(|core| core.attach(&volume).unwrap());
    let counting = attachments.each_ref().map(|attachment| increment(attachment, 500));
    until("the increments", || counting.iter().all(|(_, progress)| progress.is_over()));
    let failed: u64 = counting.iter().map(|(_, progress)| progress.failed.load(SeqCst)).sum();
    assert!(failed > 10, "{failed} requests failed");
    counting.iter().zip(&cores).for_each(|((id, _), core)| drop(core.remove_session(*id)));
    let (session, progress) = Single::watching(attachments[0].volume(), 1);
    let id = add(&cores[0], session);
    until("a last look", || progress.is_over());
    let number = progress.seen.load(SeqCst);
    assert!((1000..=1000 + failed).contains(&number), "{number} after {failed} failures");
    drop(cores[0].remove_session(id));
    drop(attachments);
    end(&cores);
}

//! An SSD that breaks the rules, hangs, fails or vanishes: no panic, no second completion, no lost request.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use luge_block::{
    Channel, Completion, Completions, CoreId, Device, Durability, Lba, Operation, Refusal, Request, Status,
    Tag,
};
use luge_nvme::ControllerState;
use luge_nvme::scripted::{Enabling, Mischief, Rig, Script};
use luge_seeded::Random;
use std::collections::BTreeSet;

fn submit(rig: &Rig, channel: &mut dyn Channel, slots: std::ops::Range<u16>) {
    for slot in slots {
        let (tag, data) = (Tag::new(1, slot), [rig.buffer(u64::from(slot) * 4096, 512)]);
        let lba = Lba(slot.into());
        channel.submit(&Request { tag, operation: Operation::Read, lba, blocks: 1, data: &data }).unwrap();
    }
    channel.commit();
}

/// Status of each request, by slot. No slot may be there twice.
fn statuses(done: &[Completion]) -> Vec<Status> {
    let mut done = done.to_vec();
    done.sort_by_key(|done| done.tag().slot());
    let slots: BTreeSet<_> = done.iter().map(|done| done.tag().slot()).collect();
    assert_eq!(slots.len(), done.len(), "no request ends twice");
    done.iter().map(|done| done.status()).collect()
}

fn works_again(rig: &Rig, channel: &mut dyn Channel) {
    rig.until_room(channel);
    assert_eq!(channel.room(), 15);
    // More than once around the rings: nothing of the time before is left in them.
    for _ in 0..20 {
        assert_eq!(rig.run(channel, Operation::Read, Lba(0), &[rig.buffer(0, 4096)]), Status::Success);
    }
    assert_eq!(rig.controller.state(), ControllerState::Live);
    assert_eq!(rig.ssd.dma_faults(), 0);
}

/// Asserts that the channel works again after one reset, if the second of three commands goes wrong.
fn recovers_from(mischief: Mischief, expected: [Status; 3]) {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    rig.ssd.misbehave([None, Some(mischief)]);
    submit(&rig, &mut *channel, 0..3);
    let done = rig.drain(&mut *channel);
    assert_eq!(statuses(&done), expected, "{mischief:?}");
    works_again(&rig, &mut *channel);
    assert_eq!(rig.ssd.account().controller_resets, 1, "{mischief:?}");
}

const AFTER_A_LIE: [Status; 3] = [Status::Success, Status::Aborted, Status::Aborted];

#[test]
fn a_completion_of_a_command_that_does_not_exist_resets_the_ssd() {
    recovers_from(Mischief::UnknownId, AFTER_A_LIE);
}

#[test]
fn a_completion_for_another_queue_resets_the_ssd() {
    recovers_from(Mischief::WrongQueue, AFTER_A_LIE);
}

#[test]
fn a_head_that_was_never_submitted_resets_the_ssd() {
    recovers_from(Mischief::HeadPastTail, AFTER_A_LIE);
    recovers_from(Mischief::HeadOutside, AFTER_A_LIE);
}

#[test]
fn a_completion_for_an_earlier_use_of_a_slot_ends_no_request_and_resets_the_ssd() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    let data = [rig.buffer(0, 4096)];
    assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(0), &data), Status::Success);
    let executed = rig.ssd.account().executed;
    rig.ssd.misbehave([Some(Mischief::StaleId)]);
    assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(0), &data), Status::Aborted);
    assert_eq!(rig.ssd.account().executed, executed, "the SSD has not done it");
    works_again(&rig, &mut *channel);
    assert_eq!(rig.ssd.account().controller_resets, 1);
}

#[test]
fn a_second_completion_ends_no_request_and_resets_the_ssd() {
    recovers_from(Mischief::Twice, [Status::Success, Status::Success, Status::Aborted]);
}

#[test]
fn a_phase_tag_without_a_completion_resets_the_ssd() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    rig.ssd.misbehave([None, None, Some(Mischief::FalsePhase)]);
    submit(&rig, &mut *channel, 0..3);
    assert_eq!(statuses(&rig.drain(&mut *channel)), [Status::Success; 3]);
    Rig::until("it was reset", || {
        channel.poll(&mut Completions::default());
        rig.ssd.account().controller_resets == 1
    });
    works_again(&rig, &mut *channel);
}

#[test]
fn a_command_that_is_never_completed_is_aborted_by_a_reset() {
    recovers_from(Mischief::Silence, [Status::Success, Status::Aborted, Status::Success]);
}

#[test]
fn a_fatal_status_resets_the_ssd() {
    recovers_from(Mischief::Fatal, AFTER_A_LIE);
}

#[test]
fn a_reset_reaches_every_queue_of_the_ssd() {
    let rig = Rig::new(Script::default());
    let namespace = &rig.controller.namespaces()[0];
    let mut channels: Vec<_> = (0..3).map(|core| namespace.open(CoreId(core)).unwrap()).collect();
    rig.ssd.misbehave(vec![Some(Mischief::Silence); 6]);
    channels.iter_mut().for_each(|channel| submit(&rig, &mut **channel, 0..2));
    for channel in &mut channels {
        assert_eq!(statuses(&rig.drain(&mut **channel)), [Status::Aborted; 2]);
    }
    channels.iter_mut().for_each(|channel| works_again(&rig, &mut **channel));
    assert_eq!(rig.ssd.account().controller_resets, 1);
    assert_eq!(rig.ssd.io_queues(), 3);
}

#[test]
fn while_the_ssd_is_reset_a_channel_takes_nothing_and_ends_nothing() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    // It neither stops, nor resets, nor lets go of memory: nothing may end.
    rig.ssd.script(|script| {
        (script.disable_works, script.reset_works, script.bus_master_works) = (false, false, false);
    });
    rig.ssd.misbehave([Some(Mischief::Silence)]);
    submit(&rig, &mut *channel, 0..1);
    Rig::until("it is stuck", || {
        let mut done = Completions::default();
        channel.poll(&mut done);
        assert!(done.as_slice().is_empty());
        rig.controller.state() == ControllerState::Stuck
    });
    let data = [rig.buffer(0, 512)];
    let read =
        Request { tag: Tag::default(), operation: Operation::Read, lba: Lba(0), blocks: 1, data: &data };
    assert_eq!(channel.room(), 0);
    assert_eq!(channel.submit(&read), Err(Refusal::Full));
    rig.ssd.script(|script| script.bus_master_works = true);
    assert_eq!(statuses(&rig.drain(&mut *channel)), [Status::Gone]);
    assert!(!rig.ssd.is_bus_master());
}

#[test]
fn an_ssd_that_does_not_stop_is_reset_as_a_function() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    rig.ssd.script(|script| script.disable_works = false);
    rig.ssd.misbehave([Some(Mischief::Silence)]);
    submit(&rig, &mut *channel, 0..1);
    assert_eq!(statuses(&rig.drain(&mut *channel)), [Status::Aborted]);
    works_again(&rig, &mut *channel);
    assert_eq!(rig.ssd.account().function_resets, 1);
}

/// Asserts that an SSD which breaks in some way after bring-up is given up, and that requests fail from then on.
fn is_given_up(breakage: impl FnOnce(&mut Script)) {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    rig.ssd.script(breakage);
    rig.ssd.misbehave([Some(Mischief::Silence)]);
    submit(&rig, &mut *channel, 0..1);
    let ended = statuses(&rig.drain(&mut *channel));
    assert!(matches!(ended[..], [Status::Gone | Status::Aborted]), "{ended:?}");
    Rig::until("it is given up", || rig.controller.state() == ControllerState::Gone);
    assert!(channel.room() > 0, "requests come, so that they fail");
    let data = [rig.buffer(0, 512)];
    let read =
        Request { tag: Tag::default(), operation: Operation::Read, lba: Lba(0), blocks: 1, data: &data };
    assert_eq!(channel.submit(&read), Err(Refusal::Failed(Status::Gone)));
    assert!(rig.controller.smart().is_err());
    assert!(rig.controller.namespaces()[0].open(CoreId(1)).is_err());
    assert!(!rig.ssd.is_bus_master());
}

#[test]
fn an_ssd_that_nothing_resets_is_given_up_and_cut_off_from_memory() {
    is_given_up(|script| (script.disable_works, script.reset_works) = (false, false));
}

#[test]
fn an_ssd_that_does_not_come_back_after_its_reset_is_given_up() {
    is_given_up(|script| script.enabling = Enabling::Never);
}

#[test]
fn an_ssd_that_was_pulled_out_is_given_up() {
    is_given_up(|script| (script.present, script.reset_works) = (false, false));
}

#[test]
fn an_ssd_that_gives_no_queues_any_more_is_given_up() {
    is_given_up(|script| script.queues_work = false);
}

#[test]
fn another_ssd_in_the_same_slot_is_not_taken_for_the_old_one() {
    is_given_up(|script| script.serial = "ANOTHER");
}

#[test]
fn a_namespace_that_was_formatted_meanwhile_is_not_taken_for_the_old_one() {
    is_given_up(|script| script.namespaces[0].block_shift = 12);
}

#[test]
fn a_fault_that_no_channel_sees_is_noticed_all_the_same() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    rig.ssd.fail();
    Rig::until("it was reset", || rig.ssd.account().controller_resets == 1);
    works_again(&rig, &mut *channel);
}

#[test]
fn an_ssd_that_stopped_by_itself_is_reset() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    rig.ssd.stop();
    Rig::until("it was reset", || rig.ssd.account().controller_resets == 1);
    works_again(&rig, &mut *channel);
}

#[test]
fn a_channel_is_dropped_in_the_middle_of_a_fault_and_its_queue_serves_again() {
    let rig = Rig::new(Script { queue_pairs: 1, ..Script::default() });
    let mut channel = rig.channel();
    rig.ssd.misbehave([Some(Mischief::Fatal)]);
    submit(&rig, &mut *channel, 0..1);
    rig.ssd.step();
    drop(channel);
    let namespace = &rig.controller.namespaces()[0];
    let mut again = None;
    Rig::until("its queue is free", || {
        again = namespace.open(CoreId(0)).ok();
        again.is_some()
    });
    let mut channel = again.unwrap();
    assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(0), &[rig.buffer(0, 512)]), Status::Success);
}

/// Asserts that an SSD in some state, with a request in flight, is given back when the host wants it.
fn is_handed_back(state: impl FnOnce(&mut Script)) -> Rig {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    rig.ssd.misbehave([Some(Mischief::Silence)]);
    submit(&rig, &mut *channel, 0..1);
    rig.ssd.script(state);
    rig.ssd.recall();
    assert_eq!(statuses(&rig.drain(&mut *channel)), [Status::Gone]);
    Rig::until("the host has it", || rig.ssd.account().handed_back);
    let data = [rig.buffer(0, 512)];
    let read =
        Request { tag: Tag::default(), operation: Operation::Read, lba: Lba(0), blocks: 1, data: &data };
    assert_eq!(channel.submit(&read), Err(Refusal::Failed(Status::Gone)));
    drop(channel);
    assert!(rig.controller.smart().is_err());
    assert!(rig.controller.namespaces()[0].open(CoreId(1)).is_err());
    assert!(rig.controller.shutdown().is_ok());
    assert!(!rig.ssd.is_bus_master());
    rig
}

#[test]
fn an_ssd_that_the_host_wants_back_is_shut_down_and_given_to_it() {
    let account = is_handed_back(|_| {}).ssd.account();
    assert_eq!(account.shutdowns, 1);
    assert_eq!(account.queues_at_shutdown, 0);
    assert_eq!(account.controller_resets, 0);
}

#[test]
fn an_ssd_that_keeps_its_access_to_memory_is_given_to_the_host_all_the_same() {
    is_handed_back(|script| (script.bus_master_works, script.disable_works) = (false, false));
}

#[test]
fn an_ssd_that_was_given_up_is_given_to_the_host_when_it_asks() {
    let rig = Rig::new(Script::default());
    rig.ssd.script(|script| (script.present, script.reset_works) = (false, false));
    Rig::until("it is given up", || rig.controller.state() == ControllerState::Gone);
    rig.ssd.recall();
    Rig::until("the host has it", || rig.ssd.account().handed_back);
}

fn any_mischief(random: &mut Random) -> Option<Mischief> {
    match random.below(45_u32) {
        0 => Some(Mischief::UnknownId),
        1 => Some(Mischief::Twice),
        2 => Some(Mischief::WrongQueue),
        3 => Some(Mischief::HeadPastTail),
        4 => Some(Mischief::FalsePhase),
        5 => Some(Mischief::Fatal),
        6 => Some(Mischief::HeadOutside),
        7 => Some(Mischief::StaleId),
        _ => None,
    }
}

/// Makes random requests and random faults; returns the number of requests that succeeded, and of those that were
/// aborted.
fn torture(seed: u64) -> (usize, usize) {
    let rig = Rig::new(Script::default());
    let (mut channel, mut random) = (rig.channel(), Random::new(seed));
    let (mut open, mut next, mut ended) = (BTreeSet::new(), 0u16, (0, 0));
    Rig::until("all requests have ended", || {
        for _ in 0..random.below(16).min(channel.room()) {
            if next == 250 {
                break;
            }
            rig.ssd.misbehave([any_mischief(&mut random)]);
            let data = [rig.buffer(u64::from(next) * 8192 + random.below(2), 1024)];
            let operation = [Operation::Read, Operation::Write(Durability::Cache)][random.below(2_usize)];
            let tag = Tag::new(0, next);
            let request = Request { tag, operation, lba: Lba(u64::from(next) * 2), blocks: 2, data: &data };
            if channel.submit(&request).is_ok() {
                open.insert(next);
                next += 1;
            }
        }
        channel.commit();
        rig.ssd.step();
        let mut done = Completions::default();
        channel.poll(&mut done);
        for completion in done.as_slice() {
            assert!(open.remove(&completion.tag().slot()), "seed {seed}: ended twice, or never submitted");
            match completion.status() {
                Status::Success => ended.0 += 1,
                Status::Aborted => ended.1 += 1,
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert_eq!(open.len(), channel.in_flight(), "seed {seed}");
        next == 250 && open.is_empty()
    });
    assert_eq!(rig.ssd.dma_faults(), 0, "seed {seed}");
    ended
}

#[test]
fn under_random_faults_every_request_ends_once() {
    let ended: Vec<_> = (0..6).map(torture).collect();
    assert!(ended.iter().all(|(good, bad)| good + bad == 250));
    assert!(ended.iter().any(|(_, bad)| *bad > 0), "the faults had an effect");
}

//! Control plane of a running SSD: events, health, shutdown.

use luge_block::{Completions, Device, Lba, Operation, Request, Status, Tag};
use luge_nvme::ControllerState;
use luge_nvme::scripted::{Mischief, Rig, Script};
use luge_spec::nvme::AsyncEvent;
use std::sync::mpsc::channel;
use std::time::Duration;

/// No reset takes as long.
const LONG: Duration = Duration::from_secs(30);

/// Event: the temperature is above its threshold; log page 02h has more.
const HOT: AsyncEvent = AsyncEvent(0x02_01_01);

#[test]
fn health_is_read_from_the_ssd() {
    let smart = Rig::new(Script::default()).controller.smart().unwrap();
    assert_eq!(smart.temperature_kelvin(), 300);
    assert_eq!(smart.power_cycles, 7);
    assert_eq!(smart.data_units_written, 1 << 70);
}

fn events_arrive(script: Script) {
    let rig = Rig::new(script);
    // One more than the SSD holds requests for, so that they must be armed again; two of a
    // kind, so that its log page must be read.
    let sent = [HOT, AsyncEvent::NAMESPACES_CHANGED, HOT, HOT, AsyncEvent(0x01_03_00), HOT];
    sent.into_iter().for_each(|event| rig.ssd.raise(event));
    Rig::until("all events were read", || rig.controller.events().len() == sent.len());
    assert_eq!(rig.controller.events(), sent);
    assert_eq!(rig.ssd.account().controller_resets, 0);
}

#[test]
fn events_are_kept_and_asked_for_again() {
    events_arrive(Script::default());
}

#[test]
fn events_arrive_by_interrupt_and_one_at_a_time() {
    events_arrive(Script { vectors: 1, event_limit_z: 0, ..Script::default() });
}

#[test]
fn an_ssd_with_events_without_end_neither_stops_its_io_nor_its_end() {
    let rig = Rig::new(Script { vectors: 1, ..Script::default() });
    (0..2000).for_each(|_| rig.ssd.raise(HOT));
    let mut channel = rig.channel();
    assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(0), &[rig.buffer(0, 512)]), Status::Success);
    Rig::until("some events were read", || rig.controller.events().len() > 2);
    rig.controller.shutdown().unwrap();
    assert!(rig.controller.events().len() <= 64);
}

#[test]
fn an_admin_command_that_is_not_answered_fails_and_the_ssd_is_reset() {
    let rig = Rig::new(Script::default());
    rig.ssd.script(|script| script.admin = Some(Mischief::Silence));
    let text = rig.controller.smart().unwrap_err().to_string();
    assert!(text.contains("did not answer Get Log Page in time"), "{text}");
    rig.ssd.script(|script| script.admin = None);
    Rig::until("it answers again", || rig.controller.smart().is_ok());
    assert_eq!(rig.ssd.account().controller_resets, 1);
}

#[test]
fn events_still_arrive_after_a_reset() {
    let rig = Rig::new(Script::default());
    rig.ssd.fail();
    Rig::until("it was reset", || rig.ssd.account().controller_resets == 1);
    rig.ssd.raise(HOT);
    Rig::until("the event was read", || rig.controller.events() == [HOT]);
}

#[test]
fn dropping_the_last_handle_shuts_the_ssd_down_with_its_queues_deleted_first() {
    let rig = Rig::new(Script::default());
    let channel = rig.channel();
    let ssd = rig.ssd.clone();
    drop(rig);
    assert_eq!(ssd.account().shutdowns, 0, "a channel is a handle too");
    drop(channel);
    assert_eq!(ssd.account().shutdowns, 1);
    assert_eq!(ssd.account().queues_at_shutdown, 0);
    assert!(!ssd.is_bus_master());
}

#[test]
fn a_shutdown_ends_what_is_in_flight_and_happens_once() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    let data = [rig.buffer(0, 512)];
    let read =
        Request { tag: Tag::default(), operation: Operation::Read, lba: Lba(0), blocks: 1, data: &data };
    channel.submit(&read).unwrap();
    channel.commit();
    rig.controller.shutdown().unwrap();
    let mut done = Completions::default();
    channel.poll(&mut done);
    assert_eq!(done.as_slice().iter().map(|done| done.status()).collect::<Vec<_>>(), [Status::Gone]);
    rig.controller.shutdown().unwrap();
    assert_eq!(rig.ssd.account().shutdowns, 1);
    assert_eq!(rig.ssd.account().queues_at_shutdown, 0);
    assert_eq!(rig.controller.state(), ControllerState::Gone);
    drop(channel);
}

#[test]
fn an_ssd_that_has_failed_is_not_asked_to_shut_down() {
    let rig = Rig::new(Script::default());
    rig.ssd.script(|script| (script.present, script.reset_works) = (false, false));
    Rig::until("it is given up", || rig.controller.state() == ControllerState::Gone);
    let ssd = rig.ssd.clone();
    drop(rig);
    assert_eq!(ssd.account().shutdowns, 0);
}

#[test]
fn whoever_asked_is_told_once_that_an_ssd_is_gone() {
    let rig = Rig::new(Script::default());
    let (told, is_told) = channel();
    let tell = told.clone();
    rig.controller.when_gone(move || tell.send("in time").unwrap());
    assert!(is_told.try_recv().is_err(), "it is there");
    rig.ssd.script(|script| (script.present, script.reset_works) = (false, false));
    assert_eq!(is_told.recv().unwrap(), "in time");
    assert_eq!(rig.controller.state(), ControllerState::Gone);
    rig.controller.when_gone(move || told.send("late").unwrap());
    assert_eq!(is_told.try_recv().unwrap(), "late");
    drop(rig);
    assert!(is_told.try_recv().is_err(), "once each");
}

#[test]
fn namespaces_keep_their_controller_alive() {
    let rig = Rig::new(Script::default());
    let (namespace, ssd) = (rig.controller.namespaces().remove(0), rig.ssd.clone());
    drop(rig);
    assert!(namespace.open(luge_block::CoreId(0)).is_ok());
    drop(namespace);
    assert_eq!(ssd.account().shutdowns, 1);
}

#[test]
fn a_reset_that_was_asked_for_has_happened_when_the_call_returns_and_io_goes_on() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    rig.controller.reset(LONG).unwrap();
    assert_eq!(rig.ssd.account().controller_resets, 1);
    Rig::until("it takes requests again", || {
        channel.poll(&mut Completions::default());
        channel.room() > 0
    });
    assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(0), &[rig.buffer(0, 512)]), Status::Success);
}

#[test]
fn a_reset_of_an_ssd_that_was_shut_down_is_refused() {
    let rig = Rig::new(Script::default());
    rig.controller.shutdown().unwrap();
    let error = rig.controller.reset(LONG).unwrap_err();
    assert!(error.to_string().contains("no longer in use"), "{error}");
}

#[test]
fn a_reset_does_not_wait_longer_than_it_is_told() {
    let rig = Rig::new(Script::default());
    let error = rig.controller.reset(Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("come back after its reset"), "{error}");
    Rig::until("it was reset", || rig.ssd.account().controller_resets == 1);
}

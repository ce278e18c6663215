//! Get Features and Set Features.

use crate::rig::host::{DATA, get_feature, set_feature};
use crate::rig::{Host, Sled};
use luge_memory::GuestAddress;
use luge_spec::nvme::{AdminOpcode, StatusCode, SubmissionEntry};
use std::time::{Duration, Instant};

/// Gets a value by its SEL: 0 for the current one, 1 for the default one, 2 for the saved one, 3 for capabilities.
fn select(host: &mut Host, feature: u8, select: u32) -> u32 {
    let mut entry = get_feature(feature, 0);
    entry.cdw10[0] |= select << 8;
    host.succeed(entry)
}

#[test]
fn values_are_set_and_told_and_end_with_a_reset() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    for (feature, value, default) in [
        (0x01, 3, 7),
        (0x08, 0x0a07, 0),
        (0x0a, 1, 0),
        (0x0b, 0x001f, 0x100),
        (0x0f, 5000, 0),
        (0x04, 350, 343),
    ] {
        assert_eq!(select(&mut host, feature, 0), default, "{feature:#x}");
        host.succeed(set_feature(feature, value));
        assert_eq!(select(&mut host, feature, 0), value, "{feature:#x}");
        assert_eq!(select(&mut host, feature, 1), default, "{feature:#x}");
        assert_eq!(select(&mut host, feature, 2), default, "{feature:#x}: none is saved");
        assert_eq!(select(&mut host, feature, 3) & 5, 4, "{feature:#x}: changeable, and not saveable");
    }
    host.disable();
    host.enable();
    assert_eq!(select(&mut host, 0x01, 0), 7);
    assert_eq!(select(&mut host, 0x0b, 0), 0x100);
}

#[test]
fn unknown_features_are_refused() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    for feature in [0x00, 0x03, 0x0c, 0x0d, 0x10, 0x78, 0x80, 0xc0, 0xff] {
        assert_eq!(host.refused(get_feature(feature, 0)), StatusCode::INVALID_FIELD, "{feature:#x}");
        assert_eq!(host.refused(set_feature(feature, 0)), StatusCode::INVALID_FIELD, "{feature:#x}");
    }
    let mut entry = get_feature(1, 0);
    entry.cdw10[0] |= 4 << 8;
    assert_eq!(host.refused(entry), StatusCode::INVALID_FIELD, "an unknown SEL");
}

#[test]
fn no_feature_can_be_saved() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let mut entry = set_feature(1, 0);
    entry.cdw10[0] |= 1 << 31;
    assert_eq!(host.refused(entry), StatusCode::FEATURE_NOT_SAVEABLE);
    assert_eq!(select(&mut host, 1, 0), 7, "nothing was set");
}

#[test]
fn a_feature_of_the_controller_is_not_set_for_a_namespace() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let entry = SubmissionEntry { namespace: 1, ..set_feature(1, 0) };
    assert_eq!(host.refused(entry), StatusCode::FEATURE_NOT_PER_NAMESPACE);
}

#[test]
fn error_recovery_is_of_a_namespace() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let of = |entry: SubmissionEntry, namespace| SubmissionEntry { namespace, ..entry };
    host.succeed(of(set_feature(5, 7), 1));
    assert_eq!(host.succeed(of(get_feature(5, 0), 1)), 7);
    host.succeed(of(set_feature(5, 9), u32::MAX));
    assert_eq!(host.succeed(of(get_feature(5, 0), 1)), 9);
    assert_eq!(host.refused(of(set_feature(5, 7), 2)), StatusCode::INVALID_NAMESPACE);
    assert_eq!(host.refused(of(set_feature(5, 1 << 16), 1)), StatusCode::INVALID_FIELD, "DULBE");
}

#[test]
fn there_is_one_power_state_and_one_combination_of_command_sets() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.succeed(set_feature(2, 0));
    assert_eq!(host.refused(set_feature(2, 1)), StatusCode::INVALID_FIELD);
    host.succeed(set_feature(0x19, 0));
    assert_eq!(host.refused(set_feature(0x19, 1)), StatusCode::COMMAND_SET_COMBINATION_REJECTED);
}

#[test]
fn a_cache_that_is_not_there_has_no_feature() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    assert_eq!(host.refused(get_feature(6, 0)), StatusCode::INVALID_FIELD);
    assert_eq!(host.refused(set_feature(6, 0)), StatusCode::INVALID_FIELD);
}

#[test]
fn interrupts_of_each_vector_may_wait_but_those_of_the_admin_queue() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    assert_eq!(host.succeed(get_feature(9, 0)), 1 << 16);
    assert_eq!(host.succeed(get_feature(9, 3)), 3);
    host.succeed(set_feature(9, 3 | 1 << 16));
    assert_eq!(host.succeed(get_feature(9, 3)), 3 | 1 << 16);
    assert_eq!(host.refused(set_feature(9, 9)), StatusCode::INVALID_FIELD);
    assert_eq!(host.refused(get_feature(9, 9)), StatusCode::INVALID_FIELD);
    assert_eq!(host.refused(set_feature(9, 0)), StatusCode::INVALID_FIELD);
}

#[test]
fn coalesced_interrupts_lose_no_completion() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.succeed(set_feature(8, 0xff0f));
    host.create_queue_pair(1);
    host.use_disk(0, 4);
}

#[test]
fn a_host_identifier_has_8_or_16_bytes() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.memory.write(GuestAddress(DATA), &[7; 16]);
    host.succeed(set_feature(0x81, 1));
    assert_eq!(sled.subsystem.controllers()[0].host_id, [7; 16]);
    host.fill_data(32);
    host.succeed(get_feature(0x81, 1));
    assert_eq!(host.data(17), [[7; 16].as_slice(), &[0xa5]].concat());
    host.succeed(set_feature(0x81, 1));
    host.memory.write(GuestAddress(DATA), &[9; 16]);
    assert_eq!(host.refused(set_feature(0x81, 0)), StatusCode::COMMAND_SEQUENCE_ERROR, "it is set already");
    host.disable();
    host.enable();
    host.memory.write(GuestAddress(DATA), &[9; 16]);
    host.succeed(set_feature(0x81, 0));
    host.fill_data(32);
    host.succeed(get_feature(0x81, 0));
    assert_eq!(host.data(9), [[9; 8].as_slice(), &[0xa5]].concat());
}

#[test]
fn the_timestamp_goes_on_from_what_the_host_has_set() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let set: u64 = 1_700_000_000_000;
    host.memory.write(GuestAddress(DATA), &set.to_le_bytes());
    host.succeed(set_feature(0x0e, 0));
    host.succeed(get_feature(0x0e, 0));
    let told = u64::from_le_bytes(host.data(8).try_into().unwrap());
    assert!((set..set + 60_000).contains(&(told & 0xffff_ffff_ffff)), "{told}");
    assert_eq!(told >> 49 & 7, 1, "set by the host");
}

#[test]
fn a_host_that_does_not_keep_the_controller_alive_finds_it_failed() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.succeed(set_feature(0x0f, 1));
    assert_eq!(host.succeed(get_feature(0x0f, 0)), 1000, "rounded up to the granularity");
    let keep_alive = SubmissionEntry::admin(AdminOpcode::KEEP_ALIVE, 0, 0);
    host.succeed(keep_alive);
    let until = host.function.wake_at().expect("a time");
    assert!(until > Instant::now() + Duration::from_millis(500));
    host.wait("the failure", |host| host.status() == 3);
    assert!(Instant::now() >= until);
    host.disable();
    host.enable();
    assert_eq!(host.status(), 1);
}

/// SMART log: critical warning, and composite temperature.
fn temperature(host: &mut Host) -> [u8; 3] {
    host.log(2, 0, 512)[..3].try_into().unwrap()
}

#[test]
fn a_temperature_that_reaches_a_threshold_is_a_warning_and_an_event() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let [low, high] = 323_u16.to_le_bytes();
    assert_eq!(temperature(&mut host), [0, low, high]);
    let page = host.identify(1, 0);
    assert_eq!(page[266..270], [87, 1, 117, 1], "WCTEMP of 343 K and CCTEMP of 373 K");
    let id = host.send(SubmissionEntry::admin(AdminOpcode::ASYNC_EVENT_REQUEST, 0, 0));
    host.succeed(set_feature(0x04, 323));
    assert_eq!(temperature(&mut host), [2, low, high]);
    assert!(host.completion(id).is_none(), "the host has not asked for it");
    host.succeed(set_feature(0x0b, 0x102));
    host.succeed(set_feature(0x04, 343));
    assert_eq!(temperature(&mut host), [0, low, high]);
    // A threshold below which it is too cold.
    host.succeed(set_feature(0x04, 1 << 20 | 323));
    assert_eq!(host.wait_for(id).result, 1 | 1 << 8 | 2 << 16);
    assert_eq!(temperature(&mut host), [2, low, high]);
    let id = host.send(SubmissionEntry::admin(AdminOpcode::ASYNC_EVENT_REQUEST, 0, 0));
    host.succeed(set_feature(0x04, 1 << 20 | 400));
    assert_eq!(host.wait_for(id).result, 1 | 1 << 8 | 2 << 16, "once more after the log was read");
}

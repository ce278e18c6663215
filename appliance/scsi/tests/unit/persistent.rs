//! PERSISTENT RESERVE IN and OUT, RESERVE and RELEASE.

use super::rig::{Host, World, be16, be32, be64};
use luge_reservations::REGISTRANTS_MAX;
use luge_scsi::Sense;
use luge_spec::scsi::AdditionalSense;

/// PERSISTENT RESERVE OUT, REGISTER.
pub const PR_OUT: [u8; 10] = [0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0];

const RESERVE_6: [u8; 6] = [0x16, 0, 0, 0, 0, 0];
const RELEASE_6: [u8; 6] = [0x17, 0, 0, 0, 0, 0];

pub const fn pr_out(action: u8, kind: u8) -> [u8; 10] {
    [0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0]
}

pub const fn pr_in(action: u8, allocation_length: u8) -> [u8; 10] {
    [0x5e, action, 0, 0, 0, 0, 0, 0, allocation_length, 0]
}

/// Parameter list.
pub fn list(key: u64, action_key: u64) -> Vec<u8> {
    [&key.to_be_bytes()[..], &action_key.to_be_bytes(), &[0; 8]].concat()
}

pub fn register(host: &Host, old: u64, new: u64) {
    host.good(&pr_out(0, 0), &list(old, new));
}

pub fn reserve(host: &Host, key: u64, kind: u8) {
    host.good(&pr_out(1, kind), &list(key, 0));
}

/// Keys of all registrants.
pub fn keys(host: &Host) -> Vec<u64> {
    host.data(&pr_in(0, 255))[8..].chunks(8).map(|key| be64(key, 0)).collect()
}

/// Key and type of the reservation.
fn reservation(host: &Host) -> Option<[u64; 2]> {
    let data = host.data(&pr_in(1, 255));
    (data.len() == 24).then(|| [be64(&data, 8), data[21].into()])
}

const PREEMPTED: AdditionalSense = AdditionalSense::REGISTRATIONS_PREEMPTED;
const RELEASED: AdditionalSense = AdditionalSense::RESERVATIONS_RELEASED;
const CLEARED: AdditionalSense = AdditionalSense::RESERVATIONS_PREEMPTED;

#[test]
fn a_registration_is_made_changed_and_removed() {
    let host = World::new().host("a");
    register(&host, 0, 7);
    assert_eq!(keys(&host), [7]);
    register(&host, 7, 8);
    assert_eq!(keys(&host), [8]);
    assert_eq!(be32(&host.data(&pr_in(0, 8)), 0), 2, "PRgeneration");
    register(&host, 8, 0);
    assert_eq!(keys(&host), [0_u64; 0]);
}

/// REGISTER: whether there is a registration with key 7, the reservation key, the service action key, and the keys
/// afterwards; none for a conflict. SPC-4, table 53.
#[test]
fn register_checks_the_reservation_key() {
    let cases: [(bool, u64, u64, Option<&[u64]>); 8] = [
        (false, 0, 0, Some(&[])),
        (false, 0, 9, Some(&[9])),
        (false, 5, 9, None),
        (false, 5, 0, None),
        (true, 7, 9, Some(&[9])),
        (true, 7, 0, Some(&[])),
        (true, 0, 9, None),
        (true, 9, 7, None),
    ];
    for (is_registered, key, new, expected) in cases {
        let host = World::new().host("a");
        if is_registered {
            register(&host, 0, 7);
        }
        let what = format!("registered: {is_registered}, {key} to {new}");
        assert_eq!(host.conflicts(&pr_out(0, 0), &list(key, new)), expected.is_none(), "{what}");
        let unchanged: &[u64] = if is_registered { &[7] } else { &[] };
        assert_eq!(keys(&host), expected.unwrap_or(unchanged), "{what}");
    }
}

#[test]
fn register_and_ignore_takes_any_key() {
    let host = World::new().host("a");
    host.good(&pr_out(6, 0), &list(99, 7));
    host.good(&pr_out(6, 0), &list(98, 8));
    assert_eq!(keys(&host), [8]);
    host.good(&pr_out(6, 0), &list(97, 0));
    assert_eq!(keys(&host), [0_u64; 0]);
}

#[test]
fn each_nexus_has_a_registration_of_its_own() {
    let world = World::new();
    let host = world.host("a");
    let second = world.unit.connect(&host.initiator, 1);
    register(&host, 0, 7);
    assert!(!second.reservations().is_registered());
    assert_ne!(host.nexus.port(), second.port());
}

#[test]
fn a_registration_outlives_the_nexus() {
    let world = World::new();
    register(&world.host("a"), 0, 7);
    let (again, other) = (world.host("a"), world.host("b"));
    assert_eq!(keys(&other), [7]);
    reserve(&again, 7, 3);
    assert_eq!(reservation(&other), Some([7, 3]));
}

#[test]
fn all_types_are_taken_and_reported() {
    for kind in [1, 3, 5, 6, 7, 8] {
        let host = World::new().host("a");
        register(&host, 0, 7);
        assert_eq!(reservation(&host), None);
        reserve(&host, 7, kind);
        let key = if kind < 7 { 7 } else { 0 };
        assert_eq!(reservation(&host), Some([key, kind.into()]));
        reserve(&host, 7, kind);
        let another = if kind == 1 { 3 } else { 1 };
        assert!(host.conflicts(&pr_out(1, another), &list(7, 0)), "another type");
        host.good(&pr_out(2, kind), &list(7, 0));
        assert_eq!(reservation(&host), None);
    }
    let host = World::new().host("a");
    register(&host, 0, 7);
    for kind in [0, 2, 4, 9, 15] {
        assert_eq!(
            host.refused(&pr_out(1, kind), &list(7, 0)),
            Sense::invalid_bit_in_cdb(2, 3),
            "type {kind}"
        );
    }
    for scope in [0x10, 0x20, 0xf0] {
        assert_eq!(
            host.refused(&pr_out(1, scope | 1), &list(7, 0)),
            Sense::invalid_bit_in_cdb(2, 7),
            "scope"
        );
    }
}

#[test]
fn a_release_of_another_type_is_refused() {
    let host = World::new().host("a");
    register(&host, 0, 7);
    reserve(&host, 7, 1);
    let sense = host.refused(&pr_out(2, 3), &list(7, 0));
    assert_eq!(sense.code, AdditionalSense::INVALID_RELEASE_OF_PERSISTENT_RESERVATION);
    assert_eq!(reservation(&host), Some([7, 1]));
}

#[test]
fn the_parameter_list_has_24_bytes() {
    let host = World::new().host("a");
    let error = Sense::illegal_request(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
    for length in (0..64).filter(|&length| length != 24).chain([255]) {
        for action in 0..=6 {
            let cdb = [0x5f, action, 1, 0, 0, 0, 0, 0, length, 0];
            assert_eq!(host.refused(&cdb, &[0; 256]), error, "{length} bytes");
        }
    }
    assert_eq!(host.refused(&[0x5f, 0, 0, 0, 0, 0, 1, 0, 24, 0], &[0; 1024]), error, "65560 bytes");
    assert_eq!(host.refused(&PR_OUT, &[0; 23]), error, "less data than the CDB says");
    host.good(&PR_OUT, &[0; 512]);
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let host = World::new().host("a");
    for (flag, bit) in [(0x08, 3), (0x04, 2), (0x01, 0)] {
        for action in [0, 6] {
            let mut with_flag = list(0, 7);
            with_flag[20] = flag;
            let sense = host.refused(&pr_out(action, 0), &with_flag);
            assert_eq!(sense, Sense::invalid_bit_in_parameters(20, bit), "flag {flag:#x}");
        }
    }
    assert_eq!(keys(&host), [0_u64; 0]);
}

#[test]
fn capabilities_say_what_is_done() {
    let host = World::new().host("a");
    let expected = [0, 8, 0x10, 0x90, 0xea, 0x01, 0, 0];
    assert_eq!(host.data(&pr_in(2, 255)), expected, "CRH; no SPEC_I_PT, no ALL_TG_PT, no APTPL");
}

#[test]
fn a_release_and_a_clear_are_told_to_registrants() {
    let world = World::new();
    let (host, other) = (world.host("a"), world.host("b"));
    register(&host, 0, 7);
    register(&other, 0, 8);
    reserve(&host, 7, 5);
    host.good(&pr_out(2, 5), &list(7, 0));
    assert_eq!(other.attentions(), [RELEASED]);
    reserve(&host, 7, 1);
    host.good(&pr_out(2, 1), &list(7, 0));
    assert_eq!(other.attentions(), [], "which had no rights by it");
    other.good(&pr_out(3, 0), &list(8, 0));
    assert_eq!(host.attentions(), [CLEARED]);
    assert_eq!(other.attentions(), []);
    assert_eq!(keys(&host), [0_u64; 0]);
}

#[test]
fn a_preempted_registrant_conflicts_and_is_told_when_it_can_be() {
    let world = World::new();
    let (host, victim) = (world.host("a"), world.host("b"));
    register(&host, 0, 7);
    register(&victim, 0, 8);
    reserve(&victim, 8, 1);
    host.good(&pr_out(4, 3), &list(7, 8));
    assert_eq!(reservation(&host), Some([7, 3]));
    assert_eq!(keys(&host), [7]);
    assert!(victim.conflicts(&super::rig::READ_10, &[]), "a conflict goes before such an attention");
    assert_eq!(victim.code(&[0; 6]), PREEMPTED);
}

#[test]
fn a_preemption_of_another_type_tells_those_who_stay() {
    let world = World::new();
    let (host, victim, third) = (world.host("a"), world.host("b"), world.host("c"));
    register(&host, 0, 7);
    register(&victim, 0, 8);
    register(&third, 0, 9);
    reserve(&victim, 8, 5);
    host.good(&pr_out(5, 6), &list(7, 8));
    assert_eq!(third.attentions(), [RELEASED]);
    assert_eq!(victim.code(&[0; 6]), PREEMPTED);
}

#[test]
fn keys_of_zero_and_keys_of_nobody_preempt_nothing() {
    let world = World::new();
    let (host, other) = (world.host("a"), world.host("b"));
    register(&host, 0, 7);
    register(&other, 0, 8);
    assert_eq!(host.refused(&pr_out(4, 1), &list(7, 0)), Sense::invalid_field_in_parameters(8));
    assert!(host.conflicts(&pr_out(4, 1), &list(7, 99)));
    assert!(host.conflicts(&pr_out(4, 1), &list(0, 8)), "an own key of zero");
    assert_eq!(keys(&host), [7, 8]);
    reserve(&host, 7, 7);
    other.good(&pr_out(4, 7), &list(8, 0));
    assert_eq!(keys(&other), [8], "zero is all, where all hold");
    assert_eq!(host.code(&[0; 6]), PREEMPTED);
}

#[test]
fn a_holder_that_preempts_its_own_key_changes_the_type() {
    let host = World::new().host("a");
    register(&host, 0, 7);
    reserve(&host, 7, 1);
    host.good(&pr_out(4, 3), &list(7, 7));
    assert_eq!(keys(&host), [7]);
    assert_eq!(reservation(&host), Some([7, 3]));
    assert_eq!(host.attentions(), []);
}

#[test]
fn a_registrant_that_preempts_its_own_key_while_another_holds_is_no_longer_registered() {
    let world = World::new();
    let (host, holder) = (world.host("a"), world.host("b"));
    register(&host, 0, 7);
    register(&holder, 0, 8);
    reserve(&holder, 8, 1);
    host.good(&pr_out(4, 3), &list(7, 7));
    assert_eq!(keys(&host), [8]);
    assert_eq!(reservation(&host), Some([8, 1]));
}

#[test]
fn full_status_names_registrants_and_ports() {
    let world = World::new();
    let (host, other) = (world.host("a"), world.host("b"));
    register(&host, 0, 7);
    register(&other, 0, 8);
    reserve(&other, 8, 3);
    let status = host.data(&pr_in(3, 255));
    assert_eq!(be32(&status, 4) as usize, 96);
    assert_eq!(status.len(), 104);
    let (first, second) = (&status[8..56], &status[56..]);
    assert_eq!([be64(first, 0), be64(second, 0)], [7, 8]);
    assert_eq!([first[12], first[13], second[12], second[13]], [0, 0, 1, 3], "holder, type");
    assert_eq!([be16(first, 18), be16(second, 18)], [host.nexus.port(), other.nexus.port()]);
    assert_eq!([be32(first, 20), be32(second, 20)], [24, 24]);
    assert_eq!(first[24], 6);
    assert_ne!(first[28..36], second[28..36]);
    for allocation_length in [0, 1, 7, 8, 9, 31, 32, 56, 103, 104] {
        let part = host.data(&pr_in(3, allocation_length));
        assert_eq!(part, status[..allocation_length.into()], "{allocation_length} bytes");
    }
}

#[test]
fn reports_say_their_true_length_whatever_the_allocation_length() {
    let world = World::new();
    let host = world.host("a");
    register(&host, 0, 7);
    reserve(&host, 7, 1);
    for action in 0..=3 {
        let whole = host.data(&pr_in(action, 255));
        for allocation_length in 0..=u8::try_from(whole.len()).unwrap() {
            assert_eq!(host.data(&pr_in(action, allocation_length)), whole[..allocation_length.into()]);
        }
    }
}

#[test]
fn there_is_an_end_of_registrations() {
    let world = World::new();
    for number in 0..REGISTRANTS_MAX {
        register(&world.host(&number.to_string()), 0, 7);
    }
    let sense = world.host("one more").refused(&PR_OUT, &list(0, 7));
    assert_eq!(sense.code, AdditionalSense::INSUFFICIENT_REGISTRATION_RESOURCES);
}

#[test]
fn a_reservation_by_reserve_ends_by_release_reset_and_loss() {
    let world = World::new();
    let (host, other) = (world.host("a"), world.host("b"));
    let is_free = || {
        let is_free = !other.conflicts(&RESERVE_6, &[]);
        other.good(&RELEASE_6, &[]);
        is_free
    };
    host.good(&RESERVE_6, &[]);
    host.good(&RESERVE_6, &[]);
    assert!(!is_free());
    host.good(&RELEASE_6, &[]);
    assert!(is_free());
    host.good(&RESERVE_6, &[]);
    host.nexus.lost();
    assert!(is_free(), "lost");
    assert_eq!(host.attentions(), [AdditionalSense::I_T_NEXUS_LOSS]);
    host.good(&RESERVE_6, &[]);
    drop(other.nexus.reset());
    assert_eq!(other.attentions(), [AdditionalSense::BUS_DEVICE_RESET_FUNCTION]);
    assert!(is_free(), "reset");
    assert_eq!(host.attentions(), [AdditionalSense::BUS_DEVICE_RESET_FUNCTION]);
    host.good(&RESERVE_6, &[]);
    drop(host);
    assert!(is_free(), "gone");
}

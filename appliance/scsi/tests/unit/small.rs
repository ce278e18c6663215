//! Commands that change little.

use super::rig::{READ_10, TEST_UNIT_READY, WRITE_10, World};
use luge_scsi::{Ending, Reply, Sense};
use luge_spec::scsi::{AdditionalSense, SenseKey};

const START: [u8; 6] = [0x1b, 0, 0, 0, 1, 0];
const STOP: [u8; 6] = [0x1b, 0, 0, 0, 0, 0];
const STOP_WITHOUT_FLUSH: [u8; 6] = [0x1b, 0, 0, 0, 4, 0];

/// A command, and its end; data-out is not looked at.
#[test]
fn commands_end_as_the_standard_says() {
    let bit = |byte, bit| Err(Sense::invalid_bit_in_cdb(byte, bit));
    let field = |byte| Err(Sense::invalid_field_in_cdb(byte));
    let opcode = Err(Sense::invalid_opcode());
    let commands: [(&str, &[u8], Result<(), Sense>); 26] = [
        ("TEST UNIT READY", &TEST_UNIT_READY, Ok(())),
        ("TEST UNIT READY, reserved", &[0, 0, 0, 1, 0, 0], bit(3, 0)),
        ("START", &[0x1b, 0, 0, 0, 1, 0], Ok(())),
        ("START, IMMED", &[0x1b, 1, 0, 0, 1, 0], Ok(())),
        ("stop, NO_FLUSH", &STOP_WITHOUT_FLUSH, Ok(())),
        ("start again", &START, Ok(())),
        ("eject", &[0x1b, 0, 0, 0, 2, 0], bit(4, 1)),
        ("load", &[0x1b, 0, 0, 0, 3, 0], bit(4, 1)),
        ("power condition", &[0x1b, 0, 0, 0, 0x11, 0], bit(4, 7)),
        ("power condition modifier", &[0x1b, 0, 0, 1, 1, 0], bit(3, 3)),
        ("ALLOW", &[0x1e, 0, 0, 0, 0, 0], Ok(())),
        ("PREVENT", &[0x1e, 0, 0, 0, 1, 0], Ok(())),
        ("PREVENT, obsolete", &[0x1e, 0, 0, 0, 2, 0], bit(4, 1)),
        ("SEND DIAGNOSTIC, default self-test", &[0x1d, 4, 0, 0, 0, 0], Ok(())),
        ("SEND DIAGNOSTIC, short self-test", &[0x1d, 0x20, 0, 0, 0, 0], bit(1, 7)),
        ("SEND DIAGNOSTIC, list", &[0x1d, 0x10, 0, 0, 8, 0], field(3)),
        ("RECEIVE DIAGNOSTIC RESULTS", &[0x1c, 1, 0, 0, 255, 0], opcode),
        ("FORMAT UNIT", &[0x04, 0, 0, 0, 0, 0], opcode),
        ("READ DEFECT DATA", &[0x37; 10], opcode),
        ("READ BUFFER", &[0x3c; 10], opcode),
        ("a CDB of 32 bytes", &[0x7f; 32], opcode),
        ("nothing", &[], opcode),
        ("SET TARGET PORT GROUPS", &[0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], opcode),
        ("MAINTENANCE IN, unknown", &[0xa3, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], bit(1, 4)),
        ("PERSISTENT RESERVE IN, unknown", &[0x5e, 4, 0, 0, 0, 0, 0, 0, 8, 0], bit(1, 4)),
        ("REGISTER AND MOVE", &[0x5f, 7, 0, 0, 0, 0, 0, 0, 24, 0], bit(1, 4)),
    ];
    let host = World::new().host("a");
    for (name, cdb, expected) in commands {
        let expected = expected.map_or_else(Ending::from, |()| Ending::GOOD);
        assert_eq!(host.send(cdb, &[]).ending, expected, "{name}");
    }
}

#[test]
fn naca_is_refused() {
    let host = World::new().host("a");
    assert_eq!(host.refused(&[0, 0, 0, 0, 0, 4], &[]), Sense::invalid_bit_in_cdb(5, 2));
}

#[test]
fn a_command_for_a_core_that_was_relayed_goes_back() {
    let host = World::new().host("a");
    for cdb in [READ_10, WRITE_10, [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        assert!(matches!(host.reply(&cdb, &[]), Reply::GoOn), "{cdb:02x?}");
    }
}

#[test]
fn request_sense_with_nothing_to_tell_tells_that() {
    let host = World::new().host("a");
    assert_eq!(host.data(&[0x03, 0, 0, 0, 18, 0])[..8], [0x70, 0, 0, 0, 0, 0, 0, 10]);
    assert_eq!(host.data(&[0x03, 1, 0, 0, 255, 0]), [0x72, 0, 0, 0, 0, 0, 0, 0]);
    for allocation_length in 0..=18 {
        let data = host.data(&[0x03, 0, 0, 0, allocation_length, 0]);
        assert_eq!(data.len(), usize::from(allocation_length));
    }
}

const STOPPED: Sense = Sense::new(SenseKey::NOT_READY, AdditionalSense::INITIALIZING_COMMAND_REQUIRED);

#[test]
fn a_stopped_unit_serves_no_command_that_needs_the_medium_until_it_is_started() {
    let world = World::new();
    let (host, other) = (world.host("a"), world.host("b"));
    assert!(matches!(host.reply(&STOP, &[]), Reply::GoOn), "the core writes the cache to the medium");
    let late = world.host("c");
    for host in [&host, &other, &late] {
        assert!(!host.nexus.gate().is_open(), "cores ask before they serve a command");
        for cdb in [&TEST_UNIT_READY[..], &READ_10, &WRITE_10, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(host.refused(cdb, &[]), STOPPED, "{cdb:02x?}");
        }
        assert_eq!(host.data(&[0x03, 0, 0, 0, 18, 0])[2], 2, "REQUEST SENSE: NOT READY");
        host.data(&[0x12, 0, 0, 0, 36, 0]);
        host.data(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        host.data(&[0x1a, 0, 0x3f, 0, 255, 0]);
    }
    host.good(&STOP_WITHOUT_FLUSH, &[]);
    other.good(&START, &[]);
    for host in [&host, &other, &late] {
        assert!(host.nexus.gate().is_open());
        host.good(&TEST_UNIT_READY, &[]);
        assert!(matches!(host.reply(&READ_10, &[]), Reply::GoOn));
    }
    host.good(&START, &[]);
}

#[test]
fn a_stop_is_refused_before_it_stops_where_it_is_a_conflict_or_wrong() {
    let world = World::new();
    let (holder, host) = (world.host("holder"), world.host("host"));
    holder.good(&[0x16, 0, 0, 0, 0, 0], &[]);
    assert!(host.conflicts(&STOP, &[]));
    assert_eq!(holder.refused(&[0x1b, 0, 0, 0, 0x10, 0], &[]), Sense::invalid_bit_in_cdb(4, 7));
    holder.good(&TEST_UNIT_READY, &[]);
    assert_eq!(holder.refused(&[0xff; 6], &[]), Sense::invalid_opcode());
}

#[test]
fn resets_start_a_stopped_unit() {
    let world = World::new();
    let (host, other) = (world.host("a"), world.host("b"));
    host.good(&STOP_WITHOUT_FLUSH, &[]);
    drop(other.nexus.reset());
    assert_eq!(host.attentions(), [AdditionalSense::BUS_DEVICE_RESET_FUNCTION]);
    host.good(&TEST_UNIT_READY, &[]);
    host.good(&STOP_WITHOUT_FLUSH, &[]);
    other.nexus.powered_on();
    host.good(&TEST_UNIT_READY, &[]);
    host.good(&STOP_WITHOUT_FLUSH, &[]);
    other.nexus.lost();
    assert_eq!(host.refused(&TEST_UNIT_READY, &[]), STOPPED, "the loss of a nexus is no reset");
}

//! Commands that change nothing.

use super::rig::{READ_10, TEST_UNIT_READY, WRITE_10, World};
use luge_scsi::{Ending, Reply, Sense};

/// A command, and its end; data-out is not looked at.
#[test]
fn commands_end_as_the_standard_says() {
    let bit = |byte, bit| Err(Sense::invalid_bit_in_cdb(byte, bit));
    let field = |byte| Err(Sense::invalid_field_in_cdb(byte));
    let opcode = Err(Sense::invalid_opcode());
    let commands: [(&str, &[u8], Result<(), Sense>); 25] = [
        ("TEST UNIT READY", &TEST_UNIT_READY, Ok(())),
        ("TEST UNIT READY, reserved", &[0, 0, 0, 1, 0, 0], bit(3, 0)),
        ("START", &[0x1b, 0, 0, 0, 1, 0], Ok(())),
        ("START, IMMED", &[0x1b, 1, 0, 0, 1, 0], Ok(())),
        ("stop, which would have to be obeyed", &[0x1b, 0, 0, 0, 0, 0], bit(4, 0)),
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

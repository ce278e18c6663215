//! Reservation conflicts, against the tables of the standards. The tables were written down from the standards, and not
//! from the code, and compared with those of other targets.

use super::persistent::{PR_OUT, list, pr_out, register, reserve};
use super::rig::{Host, World};
use luge_scsi::Sense;

/// A command, its CDB, and whether it is allowed (A) or a conflict (C) for an initiator that does not hold the
/// reservation: Write Exclusive; Exclusive Access; a type for registrants, and it is registered; Write Exclusive for
/// registrants, and it is not; Exclusive Access for registrants, and it is not; RESERVE of another.
type Line = (&'static str, &'static [u8], &'static str);

/// SPC-4, clause 5.13.1, table 66; last column: SPC-2, clause 5.5.1.
///
/// Linux's target has the same lines (`core_scsi3_pr_seq_non_holder`). FreeBSD's CTL allows REPORT SUPPORTED OPERATION
/// CODES and REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS to everybody, and PERSISTENT RESERVE IN in spite of RESERVE,
/// which the tables do not.
const PRIMARY: [Line; 17] = [
    ("INQUIRY", &[0x12, 0, 0, 0, 36, 0], "AAAAAA"),
    ("LOG SENSE", &[0x4d, 0, 0x40, 0, 0, 0, 0, 0, 8, 0], "AAAAAA"),
    ("MODE SELECT (6)", &[0x15, 0x10, 0, 0, 0, 0], "CCACCC"),
    ("MODE SELECT (10)", &[0x55, 0x10, 0, 0, 0, 0, 0, 0, 0, 0], "CCACCC"),
    ("MODE SENSE (6)", &[0x1a, 0, 0x3f, 0, 255, 0], "ACAACC"),
    ("MODE SENSE (10)", &[0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255, 0], "ACAACC"),
    ("READ KEYS", &[0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0], "AAAAAC"),
    ("READ RESERVATION", &[0x5e, 1, 0, 0, 0, 0, 0, 0, 8, 0], "AAAAAC"),
    ("REPORT CAPABILITIES", &[0x5e, 2, 0, 0, 0, 0, 0, 0, 8, 0], "AAAAAC"),
    ("READ FULL STATUS", &[0x5e, 3, 0, 0, 0, 0, 0, 0, 8, 0], "AAAAAC"),
    ("REPORT LUNS", &[0xa0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0], "AAAAAA"),
    ("REPORT SUPPORTED OPERATION CODES", &[0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0], "ACAACC"),
    ("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", &[0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0], "ACAACC"),
    ("REPORT TARGET PORT GROUPS", &[0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0], "AAAAAA"),
    ("REQUEST SENSE", &[0x03, 0, 0, 0, 18, 0], "AAAAAA"),
    ("SEND DIAGNOSTIC", &[0x1d, 4, 0, 0, 0, 0], "CCACCC"),
    ("TEST UNIT READY", &[0; 6], "AAAAAC"),
];

/// SBC-3, clause 4.17, table 9; last column: the table of SBC, with the same rows.
///
/// FreeBSD's CTL allows every START STOP UNIT and no PREVENT ALLOW MEDIUM REMOVAL; the table looks at START, POWER
/// CONDITION and PREVENT. Linux's target judges these commands by the direction of their data.
const BLOCK: [Line; 28] = [
    ("PREVENT ALLOW MEDIUM REMOVAL, allow", &[0x1e, 0, 0, 0, 0, 0], "AAAAAA"),
    ("PREVENT ALLOW MEDIUM REMOVAL, prevent", &[0x1e, 0, 0, 0, 1, 0], "CCACCC"),
    ("START STOP UNIT, start", &[0x1b, 0, 0, 0, 1, 0], "AAAAAA"),
    ("START STOP UNIT, stop", &[0x1b, 0, 0, 0, 0, 0], "CCACCC"),
    ("START STOP UNIT, power condition", &[0x1b, 0, 0, 0, 0x11, 0], "CCACCC"),
    ("READ CAPACITY (10)", &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], "AAAAAA"),
    ("READ CAPACITY (16)", &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], "AAAAAA"),
    ("GET LBA STATUS", &[0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], "ACAACC"),
    ("READ (6)", &[0x08, 0, 0, 0, 1, 0], "ACAACC"),
    ("READ (10)", &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], "ACAACC"),
    ("READ (12)", &[0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], "ACAACC"),
    ("READ (16)", &[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], "ACAACC"),
    ("VERIFY (10)", &[0x2f, 0, 0, 0, 0, 0, 0, 0, 1, 0], "ACAACC"),
    ("VERIFY (12)", &[0xaf, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], "ACAACC"),
    ("VERIFY (16)", &[0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], "ACAACC"),
    ("WRITE (6)", &[0x0a, 0, 0, 0, 1, 0], "CCACCC"),
    ("WRITE (10)", &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], "CCACCC"),
    ("WRITE (12)", &[0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], "CCACCC"),
    ("WRITE (16)", &[0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], "CCACCC"),
    ("WRITE AND VERIFY (10)", &[0x2e, 0, 0, 0, 0, 0, 0, 0, 1, 0], "CCACCC"),
    ("WRITE AND VERIFY (12)", &[0xae, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], "CCACCC"),
    ("WRITE AND VERIFY (16)", &[0x8e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], "CCACCC"),
    ("WRITE SAME (10)", &[0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0], "CCACCC"),
    ("WRITE SAME (16)", &[0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], "CCACCC"),
    ("COMPARE AND WRITE", &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], "CCACCC"),
    ("UNMAP", &[0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0], "CCACCC"),
    ("SYNCHRONIZE CACHE (10)", &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], "CCACCC"),
    ("SYNCHRONIZE CACHE (16)", &[0x91, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "CCACCC"),
];

/// SPC-2, clause 5.5.1, as SPC-4, clause 5.13.3, leaves them: CRH = 1, so that RESERVE of a holder or registrant that
/// is like one is no conflict.
const RESERVES: [Line; 2] = [
    ("RESERVE (6)", &[0x16, 0, 0, 0, 0, 0], "CCACCC"),
    ("RESERVE (10)", &[0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0], "CCACCC"),
];

/// RELEASE: a conflict where somebody is registered and it is not like a holder; nothing is done to another's RESERVE.
const RELEASES: [Line; 2] = [
    ("RELEASE (6)", &[0x17, 0, 0, 0, 0, 0], "CCACCA"),
    ("RELEASE (10)", &[0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0], "CCACCA"),
];

/// All lines.
fn lines() -> impl Iterator<Item = Line> {
    PRIMARY.into_iter().chain(BLOCK).chain(RESERVES).chain(RELEASES)
}

/// Types of persistent reservations: Write Exclusive (1, 5, 7), Exclusive Access (3, 6, 8); of registrants from 5 on.
const TYPES: [u8; 6] = [1, 3, 5, 6, 7, 8];

/// Column of the table for a type.
const fn column(kind: u8, is_registered: bool) -> usize {
    match (kind, is_registered) {
        (1, _) => 0,
        (3, _) => 1,
        (_, true) => 2,
        (5 | 7, false) => 3,
        _ => 4,
    }
}

/// A world with a reservation of a type, and an initiator that does not hold it alone. The other one is its holder.
fn reserved(kind: u8, is_registered: bool) -> (Host, Host) {
    let world = World::new();
    let (holder, host) = (world.host("holder"), world.host("host"));
    register(&holder, 0, 1);
    if is_registered {
        register(&host, 0, 2);
    }
    reserve(&holder, 1, kind);
    (host, holder)
}

#[test]
fn commands_conflict_with_persistent_reservations_as_the_tables_say() {
    for kind in TYPES {
        for is_registered in [false, true] {
            let column = column(kind, is_registered);
            for (name, cdb, verdicts) in lines() {
                let (host, _holder) = reserved(kind, is_registered);
                let expected = verdicts.as_bytes()[column] == b'C';
                let what = format!("{name}, type {kind}, registered: {is_registered}");
                assert_eq!(host.conflicts(cdb, &[]), expected, "{what}");
            }
        }
    }
}

#[test]
fn commands_that_there_are_not_conflict_with_nothing() {
    let (host, _holder) = reserved(3, false);
    assert_eq!(host.refused(&[0xff; 16], &[]), Sense::invalid_opcode());
    assert_eq!(host.refused(&pr_out(7, 0), &list(0, 1)), Sense::invalid_bit_in_cdb(1, 4));
    assert_eq!(host.refused(&[0x15, 0x10, 1, 0, 0, 0], &[]), Sense::invalid_bit_in_cdb(2, 0));
}

#[test]
fn the_holder_has_no_conflicts() {
    for kind in TYPES {
        for (name, cdb, _) in lines() {
            let (_host, holder) = reserved(kind, false);
            assert!(!holder.conflicts(cdb, &[]), "{name}, type {kind}");
        }
    }
}

#[test]
fn commands_conflict_with_reserve_as_the_table_says() {
    for (name, cdb, verdicts) in lines() {
        let world = World::new();
        let (holder, host) = (world.host("holder"), world.host("host"));
        holder.good(&[0x16, 0, 0, 0, 0, 0], &[]);
        assert_eq!(host.conflicts(cdb, &[]), verdicts.as_bytes()[5] == b'C', "{name}");
        assert!(!holder.conflicts(cdb, &[]), "{name} of the holder");
    }
}

/// SPC-4, clause 5.13.1, table 67, and Linux's target: service actions of PERSISTENT RESERVE OUT, of a registrant, and of one that is not registered. The service action
/// key is the holder's where one is needed.
const ACTIONS: [(&str, u8, &str); 7] = [
    ("REGISTER", 0, "AA"),
    ("RESERVE", 1, "CC"),
    ("RELEASE", 2, "AC"),
    ("CLEAR", 3, "AC"),
    ("PREEMPT", 4, "AC"),
    ("PREEMPT AND ABORT", 5, "AC"),
    ("REGISTER AND IGNORE EXISTING KEY", 6, "AA"),
];

#[test]
fn service_actions_conflict_as_the_table_says() {
    // All registrants hold the others.
    for kind in [1, 3, 5, 6] {
        for (name, action, verdicts) in ACTIONS {
            for (is_registered, verdict) in [true, false].into_iter().zip(verdicts.bytes()) {
                let (host, _holder) = reserved(kind, is_registered);
                let key = if is_registered { 2 } else { 0 };
                let conflicts = host.conflicts(&pr_out(action, kind), &list(key, 1));
                assert_eq!(conflicts, verdict == b'C', "{name}, type {kind}, registered: {is_registered}");
            }
        }
    }
}

#[test]
fn service_actions_conflict_with_reserve() {
    for (name, action, _) in ACTIONS {
        let world = World::new();
        let (holder, host) = (world.host("holder"), world.host("host"));
        holder.good(&[0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]);
        assert!(host.conflicts(&pr_out(action, 1), &list(0, 1)), "{name}");
        assert!(holder.conflicts(&pr_out(action, 1), &list(0, 1)), "{name} of the holder");
        assert!(host.conflicts(&PR_OUT, &[]), "{name}");
    }
}

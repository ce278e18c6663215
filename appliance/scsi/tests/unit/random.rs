//! Random commands with random parameter lists.

use super::rig::{Host, World};
use luge_block::Geometry;
use luge_scsi::{AbsentLun, CATALOG, Command, Incoming, Reply, absent, decode};
use luge_seeded::{Random, fuzz};
use luge_spec::scsi::{Opcode, ScsiStatus};

/// A CDB of a command of the device server, most bits of which are right; sometimes any.
fn cdb(random: &mut Random) -> Vec<u8> {
    if random.once_in(8) {
        let length = random.below(33_usize);
        return random.bytes(length);
    }
    let entry = random.pick(CATALOG);
    let mut cdb = random.bytes(entry.usage.len());
    let is_strict = !random.once_in(4);
    for (byte, usage) in cdb.iter_mut().zip(entry.usage) {
        *byte &= if is_strict { *usage } else { u8::MAX };
    }
    cdb[0] = entry.opcode().0;
    if let Some(action) = entry.service_action {
        cdb[1] = cdb[1] & 0xe0 | action.0;
    }
    // Small lengths, which lists can have.
    if random.once_in(2) {
        let high = entry.usage.len().saturating_sub(4);
        cdb[high] = 0;
    }
    cdb
}

/// Data-out: any bytes, or a list that is nearly right.
fn data_out(random: &mut Random) -> Vec<u8> {
    let length = random.below(64_usize);
    match random.below(3_u32) {
        0 => random.bytes(length),
        1 => {
            let keys = [0, 1, 2, random.below(u64::MAX)];
            super::persistent::list(random.pick(&keys), random.pick(&keys))
        }
        _ => {
            let mut list = vec![0; 4];
            let pages: [&[u8]; 2] = [
                &[0x08, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                &[0x0a, 0x0a, 0x24, 0x10, 0, 0, 0, 0, 0, 0, 0, 0],
            ];
            (0..random.below(3_u32)).for_each(|_| list.extend_from_slice(random.pick(&pages)));
            list
        }
    }
}

/// The most bytes that a CDB allows for data-in; none for commands without.
fn allocation_length(cdb: &[u8]) -> usize {
    let be = |at: usize, bytes: usize| {
        cdb[at..at + bytes].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    match (Opcode(cdb[0]), cdb.get(1).map(|byte| byte & 0x1f)) {
        (Opcode::REQUEST_SENSE | Opcode::MODE_SENSE_6, _) => be(4, 1),
        (Opcode::INQUIRY, _) => be(3, 2),
        (Opcode::LOG_SENSE | Opcode::MODE_SENSE_10 | Opcode::PERSISTENT_RESERVE_IN, _) => be(7, 2),
        (Opcode::REPORT_LUNS | Opcode::MAINTENANCE_IN, _) => be(6, 4),
        (Opcode::SERVICE_ACTION_IN_16, _) => be(10, 4),
        (Opcode::READ_CAPACITY_10, _) => 8,
        _ => 0,
    }
}

/// Sends a command, and checks what is true of every answer.
fn check(host: &Host, cdb: &[u8], data_out: &[u8]) {
    match host.nexus.serve(&Incoming { cdb, data_out, luns: &[0] }) {
        Reply::Done(answer) => {
            assert!(
                answer.data_in.is_empty() || answer.data_in.len() <= allocation_length(cdb),
                "{cdb:02x?}"
            );
            let is_check = answer.ending.status == ScsiStatus::CHECK_CONDITION;
            assert_eq!(answer.ending.sense.is_some(), is_check, "{cdb:02x?}");
            assert!(answer.data_in.is_empty() || answer.ending.status == ScsiStatus::GOOD);
            if let Some(field) = answer.ending.sense.and_then(|sense| sense.field) {
                let text = format!("{field:?}");
                assert!(text.contains("Parameters") || !cdb.is_empty(), "{text}");
            }
        }
        Reply::GoOn => {
            let is_for_core = decode(cdb, &host.nexus.unit().view()) != Ok(Command::Relayed);
            assert!(is_for_core, "{cdb:02x?}");
        }
        Reply::Later(change) => {
            host.owner.receipts.lock().unwrap().clear();
            drop(change);
        }
    }
}

#[test]
fn random_commands_are_answered_within_their_limits() {
    fuzz(|random| {
        let volatile_cache = random.once_in(2);
        let world = World::of(Geometry { volatile_cache, ..Geometry::for_tests() });
        let hosts = ["a", "b", "c"].map(|name| world.host(name));
        for _ in 0..300 {
            let host = &hosts[random.below(hosts.len())];
            match random.below(40_u32) {
                0 => host.nexus.reset(),
                1 => host.nexus.lost(),
                2 => host.nexus.luns_changed(),
                3 => world.unit.resized(),
                _ => check(host, &cdb(random), &data_out(random)),
            }
            hosts.iter().for_each(|host| host.owner.receipts.lock().unwrap().clear());
        }
    });
}

#[test]
fn random_commands_for_no_unit_are_answered_within_their_limits() {
    fuzz(|random| {
        let cdb = cdb(random);
        for lun in [AbsentLun::Lun, AbsentLun::ReportLuns] {
            let answer = absent(&Incoming { cdb: &cdb, data_out: &[], luns: &[3] }, lun);
            assert!(
                answer.data_in.is_empty() || answer.data_in.len() <= allocation_length(&cdb),
                "{cdb:02x?}"
            );
        }
    });
}

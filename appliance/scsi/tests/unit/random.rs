//! Random commands with random parameter lists.

use super::rig::{Host, World, be16, be64};
use luge_block::{Durability, Geometry};
use luge_reservations::Rights;
use luge_scsi::{AbsentLun, Answer, CATALOG, Command, Ending, Incoming, Reply, SenseFormat, absent, decode};
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
            check_answer(&answer, cdb, data_out);
            if answer.ending == Ending::GOOD {
                check_work(host, cdb, data_out);
            }
        }
        Reply::GoOn => {
            let is_for_core = decode(cdb, &host.nexus.unit().view()) != Ok(Command::Relayed);
            assert!(is_for_core, "{cdb:02x?}");
        }
        Reply::Later(_) => check_work(host, cdb, data_out),
    }
}

/// Data, sense data and status go together, and the field pointer points into what was sent, or to the first
/// byte that a CDB lacks.
fn check_answer(answer: &Answer, cdb: &[u8], data_out: &[u8]) {
    let Answer { ending, data_in, .. } = answer;
    assert!(data_in.is_empty() || data_in.len() <= allocation_length(cdb), "{cdb:02x?}");
    assert!(data_in.is_empty() || ending.status == ScsiStatus::GOOD, "{cdb:02x?}");
    let is_check = ending.status == ScsiStatus::CHECK_CONDITION;
    assert_eq!(ending.sense.is_some(), is_check, "{cdb:02x?}");
    let Some(sense) = ending.sense.filter(|sense| sense.field.is_some()) else { return };
    let bytes = sense.to_bytes(SenseFormat::Fixed);
    let sent = if bytes[15] & 0x40 == 0 { data_out.len() } else { cdb.len() + 1 };
    assert!(usize::from(be16(&bytes, 16)) < sent, "{cdb:02x?} {data_out:02x?} {sense:?}");
}

/// A command that has succeeded has done its work.
fn check_work(host: &Host, cdb: &[u8], data_out: &[u8]) {
    match (cdb[0], cdb[1] & 0x1f) {
        (0x15, _) if cdb[4] > 0 => check_modes(host, &data_out[4 + usize::from(data_out[3])..cdb[4].into()]),
        (0x55, _) if be16(cdb, 7) > 0 => {
            check_modes(host, &data_out[8 + usize::from(data_out[7])..be16(cdb, 7).into()]);
        }
        (0x5f, 0 | 6) => {
            assert_eq!(host.nexus.reservations().is_registered(), be64(data_out, 8) != 0, "{cdb:02x?}");
        }
        (0x5f, 3) => assert!(host.nexus.reservations().report().registrants.is_empty(), "CLEAR"),
        (0x5f, 1) => {
            assert_eq!(host.nexus.reservations().rights(), Rights::ReadWrite, "{cdb:02x?}");
        }
        _ => {}
    }
}

/// The unit has the values of the last pages of a list.
fn check_modes(host: &Host, mut pages: &[u8]) {
    let (mut cache, mut format) = (None, None);
    while let [code, rest, flags, ..] = *pages {
        match code & 0x3f {
            0x08 => cache = Some(flags & 4 != 0),
            0x0a => format = Some(flags & 4 != 0),
            _ => {}
        }
        pages = &pages[2 + usize::from(rest)..];
    }
    let view = host.nexus.unit().view();
    let has_volatile = host.nexus.unit().volume().geometry().volatile_cache;
    if let Some(cache) = cache.filter(|_| has_volatile) {
        assert_eq!(view.least_durability == Durability::Cache, cache, "WCE");
    }
    if let Some(format) = format {
        assert_eq!(view.sense_format == SenseFormat::Descriptor, format, "D_SENSE");
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
                0 => drop(host.nexus.reset()),
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

#[test]
fn threads_of_several_adapters_do_not_wait_for_each_other() {
    let world = World::new();
    let group = world.groups.declare(1, 1).unwrap();
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let host = world.new_host(name, &group);
            let unit = &world.unit;
            scope.spawn(move || {
                let mut random = Random::new(name.bytes().map(u64::from).sum());
                host.initiator.set_live();
                for _ in 0..2000 {
                    let (cdb, data_out) = (cdb(&mut random), data_out(&mut random));
                    drop(host.nexus.serve(&Incoming { cdb: &cdb, data_out: &data_out, luns: &[0] }));
                    if random.once_in(16) {
                        unit.resized();
                        drop(host.nexus.reset());
                    }
                    host.owner.receipts.lock().unwrap().clear();
                }
            });
        }
    });
    let free = world.new_host("d", world.groups.free());
    drop(free.nexus.reset());
    free.attentions();
    free.good(&[0; 6], &[]);
}

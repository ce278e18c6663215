//! Mistakes of other targets that were reported in public, tried on this one. The names are those of the projects and
//! the numbers of their reports.

use super::persistent::{list, pr_out, register, reserve};
use super::rig::{Host, LUNS, READ_10, World, be32, vpd};
use luge_block::Geometry;
use luge_scsi::{AbsentLun, Answer, Command, Ending, Incoming, Reply, UnmapCommand, absent, decode};
use luge_spec::scsi::AdditionalSense;

fn to_absent(cdb: &[u8]) -> Answer {
    absent(&Incoming { cdb, data_out: &[], luns: &LUNS }, AbsentLun::Lun)
}

/// SCST #223: a target without LUN 0 was not found, because that did not answer REPORT LUNS.
#[test]
fn an_absent_lun_answers_report_luns_and_has_a_vendor() {
    let luns = to_absent(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0]);
    assert_eq!(be32(&luns.data_in, 0) as usize, 8 * LUNS.len());
    let inquiry = to_absent(&[0x12, 0, 0, 0, 96, 0]).data_in;
    assert_eq!(&inquiry[8..16], b"LUGE    ");
}

/// SCST #249, PiSCSI #309: absent LUNs had pages of vital product data, or looked like disks.
#[test]
fn an_absent_lun_is_no_disk_and_has_no_pages() {
    assert_eq!(to_absent(&[0x12, 0, 0, 0, 96, 0]).data_in[0], 0x7f);
    for page in [0x00, 0x80, 0x83, 0xb0] {
        let answer = to_absent(&vpd(page, 255));
        assert_ne!(answer.ending, Ending::GOOD, "page {page:02x}");
        assert!(answer.data_in.is_empty(), "page {page:02x}");
    }
}

/// BlueSCSI #112: REQUEST SENSE of an absent LUN told of no error.
#[test]
fn request_sense_of_an_absent_lun_says_that_there_is_none() {
    let sense = to_absent(&[0x03, 0, 0, 0, 18, 0]).data_in;
    assert_eq!([sense[2], sense[12], sense[13]], [5, 0x25, 0]);
}

/// SPDK #3409: hosts that had not registered read and wrote in spite of a reservation of all registrants.
#[test]
fn exclusive_access_of_all_registrants_excludes_those_who_are_none() {
    for kind in [6, 8] {
        let world = World::new();
        let (host, other) = (world.host("a"), world.host("b"));
        register(&host, 0, 7);
        reserve(&host, 7, kind);
        assert!(other.conflicts(&READ_10, &[]), "type {kind}");
        register(&other, 0, 8);
        assert!(!other.conflicts(&READ_10, &[]), "type {kind}");
    }
}

/// SCST #155: registrants at other ports were not told of a release.
#[test]
fn every_registrant_is_told_of_a_release_of_a_type_for_registrants() {
    for kind in [5, 6, 7, 8] {
        let world = World::new();
        let hosts = ["a", "b", "c"].map(|name| world.host(name));
        for (host, key) in hosts.iter().zip(1..) {
            register(host, 0, key);
        }
        reserve(&hosts[0], 1, kind);
        hosts[0].good(&pr_out(2, kind), &list(1, 0));
        assert_eq!(hosts[0].attentions(), [], "type {kind}");
        for host in &hosts[1..] {
            assert_eq!(host.attentions(), [AdditionalSense::RESERVATIONS_RELEASED], "type {kind}");
        }
    }
}

/// Parameter list of UNMAP with one range.
fn unmap_list(lba: u64, blocks: u32) -> Vec<u8> {
    [&[0, 22, 0, 16, 0, 0, 0, 0][..], &lba.to_be_bytes(), &blocks.to_be_bytes(), &[0; 4]].concat()
}

/// tcmu-runner #584: the block limits page allowed more than UNMAP took.
#[test]
fn as_many_blocks_are_unmapped_as_the_limits_allow() {
    let world = World::new();
    let view = world.unit.view();
    let most = be32(&world.host("a").data(&vpd(0xb0, 255)), 20);
    let command = UnmapCommand { list_bytes: 24 };
    assert!(command.ranges(&unmap_list(0, most), &view).is_ok());
    assert!(command.ranges(&unmap_list(0, most + 1), &view).is_err());
}

/// tcmu-runner #701: a division by an alignment of zero.
#[test]
fn a_device_without_an_optimal_size_has_limits() {
    let world = World::of(Geometry { optimal_blocks: 0, ..Geometry::for_tests() });
    let host = world.host("a");
    assert_eq!(host.data(&vpd(0xb0, 255)).len(), 64);
    let mut same = [0x93, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    assert!(matches!(decode(&same, &world.unit.view()), Ok(Command::Blocks(_))));
    same[1] = 0;
    assert!(matches!(decode(&same, &world.unit.view()), Ok(Command::Blocks(_))));
}

/// scsi2pi #85: READ CAPACITY (16) did not look at the allocation length.
#[test]
fn read_capacity_is_cut_to_the_allocation_length() {
    let host = World::new().host("a");
    let read = |length| host.data(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, length, 0, 0]);
    let whole = read(255);
    assert_eq!(whole.len(), 32);
    for length in 0..=32 {
        assert_eq!(read(length), whole[..length.into()]);
    }
}

/// libstoragemgmt #442: the longest allocation lengths were fatal to a controller.
#[test]
fn the_longest_allocation_lengths_are_taken() {
    let host = World::new().host("a");
    let cdbs: [&[u8]; 8] = [
        &[0x12, 0, 0, 0xff, 0xff, 0],
        &[0x12, 1, 0x83, 0xff, 0xff, 0],
        &[0x4d, 0, 0x40, 0, 0, 0, 0, 0xff, 0xff, 0],
        &[0x5a, 0, 0x3f, 0, 0, 0, 0, 0xff, 0xff, 0],
        &[0x5e, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0],
        &[0xa0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0],
        &[0xa3, 0x0a, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0],
        &[0xa3, 0x0c, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0],
    ];
    for cdb in cdbs {
        let length = host.data(cdb).len();
        assert!((8..4096).contains(&length), "{cdb:02x?}: {length} bytes");
    }
}

/// Whether REPORT SUPPORTED OPERATION CODES says that a command is there as the standard has it.
fn is_supported(host: &Host, opcode: u8) -> bool {
    host.data(&[0xa3, 0x0c, 1, opcode, 0, 0, 0, 0, 0, 64, 0, 0])[1] & 7 == 3
}

/// tcmu-runner #323: Linux asked for INQUIRY and WRITE SAME by REPORT SUPPORTED OPERATION CODES, which there was not.
#[test]
fn the_commands_that_linux_asks_for_are_reported() {
    let host = World::new().host("a");
    for opcode in [0x12, 0x41, 0x93, 0x42, 0x35] {
        assert!(is_supported(&host, opcode), "{opcode:02x}");
    }
    assert!(!is_supported(&host, 0x85), "ATA PASS-THROUGH");
}

/// PiSCSI #807: VERIFY with data wrote them.
#[test]
fn verify_changes_nothing() {
    let world = World::new();
    for (opcode, flags) in [(0x2f, 0), (0x2f, 2), (0x2f, 6)] {
        let cdb = [opcode, flags, 0, 0, 0, 0, 0, 0, 1, 0];
        let Ok(Command::Blocks(command)) = decode(&cdb, &world.unit.view()) else { panic!("{cdb:02x?}") };
        assert!(!command.operation.changes_data(), "{cdb:02x?}");
    }
}

/// libiscsi #21: RELEASE of a host that holds nothing was a conflict for a target.
#[test]
fn a_release_by_another_does_nothing() {
    let world = World::new();
    let (holder, other) = (world.host("a"), world.host("b"));
    holder.good(&[0x16, 0, 0, 0, 0, 0], &[]);
    other.good(&[0x17, 0, 0, 0, 0, 0], &[]);
    assert!(other.conflicts(&READ_10, &[]), "it is still held");
    assert!(matches!(holder.reply(&READ_10, &[]), Reply::GoOn));
}

/// SPDK #1898: a RELEASE of a host whose RESERVE was gone, by a reset or a registration of another, was fatal.
#[test]
fn a_release_after_the_reservation_is_gone_does_nothing() {
    const RESERVE: [u8; 6] = [0x16, 0, 0, 0, 0, 0];
    const RELEASE: [u8; 6] = [0x17, 0, 0, 0, 0, 0];
    let world = World::new();
    let (host, other) = (world.host("a"), world.host("b"));
    host.good(&RESERVE, &[]);
    drop(other.nexus.reset());
    assert_eq!(host.attentions().len(), 1);
    host.good(&RELEASE, &[]);
    host.good(&RELEASE, &[]);
    host.good(&RESERVE, &[]);
    host.nexus.lost();
    assert_eq!(host.attentions().len(), 1);
    assert_eq!(other.attentions().len(), 1);
    register(&other, 0, 1);
    assert!(host.conflicts(&RELEASE, &[]), "there are registrants, of which it is none");
}

/// SPDK #3699: READ FULL STATUS had the bytes of keys in the other order.
#[test]
fn keys_are_reported_as_they_were_registered() {
    let host = World::new().host("a");
    register(&host, 0, 0x0102_0304_0506_0708);
    let key = [1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(host.data(&[0x5e, 0, 0, 0, 0, 0, 0, 1, 0, 0])[8..16], key, "READ KEYS");
    assert_eq!(host.data(&[0x5e, 3, 0, 0, 0, 0, 0, 1, 0, 0])[8..16], key, "READ FULL STATUS");
    reserve(&host, 0x0102_0304_0506_0708, 5);
    assert_eq!(host.data(&[0x5e, 1, 0, 0, 0, 0, 0, 1, 0, 0])[8..16], key, "READ RESERVATION");
}

/// SPDK #1414: a host could not format a disk that had no RESERVE (6).
#[test]
fn disks_are_reserved_and_released_by_the_older_commands() {
    let host = World::new().host("a");
    for opcode in [0x16, 0x17] {
        host.good(&[opcode, 0, 0, 0, 0, 0], &[]);
        assert!(is_supported(&host, opcode));
    }
}

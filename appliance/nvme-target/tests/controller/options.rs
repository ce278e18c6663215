//! Sizes and abilities that an operator chooses, as a host finds them.

use crate::rig::host::{ADMIN_ENTRIES, DATA, IO_ENTRIES, create_completion_queue, read};
use crate::rig::queue::QueuePair;
use crate::rig::{Host, Sled, disk};
use luge_nvme_target::{ControllerConfig, ControllerConfigError, MaskedCommands};
use luge_spec::nvme::{
    AdminOpcode, Configuration, IoOpcode, StatusCode, SubmissionEntry, io_flags, offset, oncs,
};
use luge_vfio_user::RegionIndex;
use luge_virtqueue::rig::RigMemory;

const DEFAULT: ControllerConfig = ControllerConfig {
    io_queues: 8,
    vectors: 9,
    queue_entries: 4096,
    admin_queue_entries: 4096,
    transfer_bytes: 1 << 20,
    mappable_doorbells: true,
    shadow_doorbells: true,
    adaptive_interrupts: true,
    masked: MaskedCommands { oncs: 0, fuses: 0 },
};

fn sled(config: ControllerConfig) -> Sled {
    let sled = Sled::with(config);
    sled.add(1, disk());
    sled
}

fn host(sled: &Sled) -> Host {
    let mut host = sled.host();
    host.create_queue_pair(1);
    host
}

#[test]
fn the_length_of_queues_is_told_and_longer_ones_are_refused() {
    let sled = sled(ControllerConfig { queue_entries: IO_ENTRIES.into(), ..DEFAULT });
    let mut host = host(&sled);
    assert_eq!(host.read64(offset::CAP) & 0xffff, u64::from(IO_ENTRIES) - 1);
    let pair = QueuePair::new(&host.memory, 2, IO_ENTRIES + 1, RigMemory::RINGS.0 + 0x8000);
    assert_eq!(host.refused(create_completion_queue(&pair, 1)), StatusCode::INVALID_QUEUE_SIZE);
    host.use_disk(0, 1);
}

#[test]
fn the_amount_of_data_is_told_and_more_is_refused() {
    let sled = sled(ControllerConfig { transfer_bytes: 8192, ..DEFAULT });
    let mut host = host(&sled);
    assert_eq!(host.identify(1, 0)[77], 1, "MDTS");
    let long = |blocks: u16| SubmissionEntry {
        namespace: 1,
        prp1: DATA,
        prp2: DATA + 4096,
        ..SubmissionEntry::io(IoOpcode::READ, 0, blocks - 1, 0)
    };
    assert_eq!(host.io(0, long(16)).status.code(), StatusCode::SUCCESS);
    assert_eq!(host.io(0, long(17)).status.code(), StatusCode::INVALID_FIELD);
}

#[test]
fn doorbells_that_cannot_be_mapped_are_rung_by_messages() {
    let sled = sled(ControllerConfig { mappable_doorbells: false, ..DEFAULT });
    let mut host = host(&sled);
    let region = host.function.region(RegionIndex::BAR0);
    assert!(region.mappable.is_none());
    assert!(region.len > 0x1000, "they are there");
    host.use_disk(0, 2);
}

#[test]
fn shadow_doorbells_that_are_not_offered_are_an_invalid_command() {
    let sled = sled(ControllerConfig { shadow_doorbells: false, ..DEFAULT });
    let mut host = host(&sled);
    let page = host.identify(1, 0);
    assert_eq!(page[257] & 1, 0, "OACS bit 8");
    let entry = SubmissionEntry::admin(AdminOpcode::DOORBELL_BUFFER_CONFIG, 0, 0);
    let refusal = host.refused(SubmissionEntry { prp1: DATA, prp2: DATA + 4096, ..entry });
    assert_eq!(refusal, StatusCode::INVALID_OPCODE);
    assert_eq!(host.log(5, 0x7c * 4, 4), [0; 4], "effects");
}

#[test]
fn comparisons_that_are_not_offered_are_invalid_commands() {
    let masked = MaskedCommands { oncs: oncs::COMPARE, fuses: MaskedCommands::COMPARE_AND_WRITE };
    let sled = sled(ControllerConfig { masked, ..DEFAULT });
    let mut host = host(&sled);
    let page = host.identify(1, 0);
    assert_eq!(page[520] & 1, 0, "ONCS");
    assert_eq!(page[522] & 1, 0, "FUSES");
    let compare = |flags| SubmissionEntry {
        namespace: 1,
        prp1: DATA,
        flags,
        ..SubmissionEntry::io(IoOpcode::COMPARE, 0, 0, 0)
    };
    assert_eq!(host.io(0, compare(0)).status.code(), StatusCode::INVALID_OPCODE);
    assert_ne!(host.io(0, compare(1)).status.code(), StatusCode::SUCCESS, "the first of a fused pair");
    assert_eq!(host.log(5, 1024 + 5 * 4, 4), [0; 4], "effects");
    assert_eq!(host.io(0, read(1, 0)).status.code(), StatusCode::SUCCESS);
}

#[test]
fn commands_that_are_masked_are_not_offered_and_refused() {
    let masked = MaskedCommands { oncs: MaskedCommands::ONCS, fuses: 0 };
    let sled = sled(ControllerConfig { masked, ..DEFAULT });
    let mut host = host(&sled);
    let page = host.identify(1, 0);
    assert_eq!(u16::from_le_bytes([page[520], page[521]]) & MaskedCommands::ONCS, 0, "ONCS");
    assert_eq!(page[522] & 1, 1, "FUSES: Compare and Write is one of its own");
    let namespace = host.identify(0, 1);
    assert_eq!(namespace[31], 0, "RESCAP");
    assert_eq!(namespace[74..81], [0; 7], "limits of copies");
    let hint = [0, 0, 0, 0, 0, 0];
    let deallocation = [0, io_flags::ATTRIBUTE_DEALLOCATE, 0, 0, 0, 0];
    for (opcode, cdw10) in [
        (IoOpcode::COMPARE, hint),
        (IoOpcode::DATASET_MANAGEMENT, hint),
        (IoOpcode::DATASET_MANAGEMENT, deallocation),
        (IoOpcode::WRITE_ZEROES, hint),
        (IoOpcode::COPY, hint),
        (IoOpcode::RESERVATION_REGISTER, hint),
        (IoOpcode::RESERVATION_REPORT, hint),
        (IoOpcode::RESERVATION_ACQUIRE, hint),
        (IoOpcode::RESERVATION_RELEASE, hint),
    ] {
        let entry = SubmissionEntry { namespace: 1, prp1: DATA, ..SubmissionEntry::io(opcode, 0, 0, 0) };
        let status = host.io(0, SubmissionEntry { cdw10, ..entry }).status.code();
        assert_eq!(status, StatusCode::INVALID_OPCODE, "{opcode:?} {cdw10:?}");
        assert_eq!(host.log(5, 1024 + u64::from(opcode.0) * 4, 4), [0; 4], "effects of {opcode:?}");
    }
    host.use_disk(0, 1);
}

#[test]
fn a_controller_with_admin_queues_that_are_too_long_does_not_start() {
    let status = |most: u16| {
        let sled = sled(ControllerConfig { admin_queue_entries: most.into(), ..DEFAULT });
        let mut host = sled.connect();
        host.set_admin_queues();
        host.write32(offset::CC, Configuration::ENABLED.0);
        host.wait("CSTS.RDY or CSTS.CFS", |host| host.status() != 0);
        host.status()
    };
    assert_eq!(status(ADMIN_ENTRIES), 1, "CSTS.RDY");
    assert_eq!(status(ADMIN_ENTRIES - 1), 2, "CSTS.CFS");
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    use ControllerConfigError as Error;
    let refusal = |config: ControllerConfig| config.check().err();
    for entries in [0, 1, 4097] {
        let config = ControllerConfig { queue_entries: entries, ..DEFAULT };
        assert_eq!(refusal(config), Some(Error::Entries(entries)));
    }
    for entries in [0, 1, 4097] {
        let config = ControllerConfig { admin_queue_entries: entries, ..DEFAULT };
        assert_eq!(refusal(config), Some(Error::AdminEntries(entries)));
    }
    for bytes in [0, 4096, 8193, 12 << 10, 2 << 20] {
        let config = ControllerConfig { transfer_bytes: bytes, ..DEFAULT };
        assert_eq!(refusal(config), Some(Error::Transfer(bytes)));
    }
    assert_eq!(refusal(DEFAULT), None);
}

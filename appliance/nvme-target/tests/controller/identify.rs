//! Identify: every page, of namespaces that there are, could be, and cannot be.

use crate::rig::host::{DATA, identify};
use crate::rig::{BLOCKS, NAMESPACES_MAX, Sled, disk};
use luge_spec::nvme::{
    IdentifyController, IdentifyNamespace, IndependentNamespace, NamespaceDescriptors, StatusCode, oacs,
};
use zerocopy::FromBytes;

fn words(page: &[u8]) -> Vec<u32> {
    let (words, _) = page.as_chunks::<4>();
    words.iter().map(|word| u32::from_le_bytes(*word)).take_while(|&word| word != 0).collect()
}

#[test]
fn the_controller_is_what_the_operator_has_named() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let page = IdentifyController::read_from_bytes(&host.identify(1, 0)).unwrap();
    assert_eq!(&page.serial, b"SERIAL1             ");
    assert_eq!(page.model.trim_ascii_end(), b"Luge");
    assert_eq!(page.subsystem_name[..25], *b"nqn.2016-06.io.luge:test\0");
    assert_eq!(page.controller_id, 1);
    assert_eq!(page.version, 0x0002_0000);
    assert_eq!(page.controller_type, 1);
    assert_eq!(page.namespaces_max, NAMESPACES_MAX);
    assert_eq!(1_u64 << page.transfer_max << 12, 1 << 20, "1 MiB");
    assert_eq!(page.submission_entry_size, 0x66);
    assert_eq!(page.completion_entry_size, 0x44);
}

#[test]
fn what_is_not_there_is_not_advertised() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let page = IdentifyController::read_from_bytes(&host.identify(1, 0)).unwrap();
    assert_eq!(page.oacs, oacs::FORMAT | oacs::DOORBELL_BUFFER);
    assert_eq!(page.volatile_write_cache & 1, 0, "memory has no volatile cache");
    assert_eq!(page.power_states_z, 0);
}

#[test]
fn a_namespace_has_the_size_of_its_volume() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let page = IdentifyNamespace::read_from_bytes(&host.identify(0, 1)).unwrap();
    assert_eq!(page.size_blocks, BLOCKS);
    assert_eq!(page.capacity_blocks, BLOCKS);
    assert_eq!(page.format().block_shift, 9);
    assert_eq!(page.capacity_bytes, [BLOCKS * 512, 0]);
    assert_eq!(page.formats_z, 0);
    let geometry = sled.subsystem.namespaces()[0].geometry;
    assert_eq!(u32::from(page.atomic_normal_z) + 1, geometry.atomic_blocks);
}

#[test]
fn an_identifier_without_a_namespace_is_a_whole_page_of_zeroes() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    for id in 2..=NAMESPACES_MAX {
        assert_eq!(host.identify(0, id), [0; 4096], "namespace {id}");
    }
    assert_eq!(host.identify(0x11, 3), [0; 4096]);
    assert_eq!(host.identify(8, 3), [0; 4096]);
}

#[test]
fn an_identifier_that_cannot_be_is_invalid_and_touches_no_memory() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    for (cns, id) in [(0, 0), (0, NAMESPACES_MAX + 1), (0, 0xffff_fffe), (3, 0), (3, u32::MAX), (2, u32::MAX)]
    {
        host.fill_data(4096);
        assert_eq!(host.refused(identify(cns, id)), StatusCode::INVALID_NAMESPACE, "{cns:#x} of {id:#x}");
        assert_eq!(host.data(4096), [0xa5; 4096]);
    }
}

#[test]
fn lists_of_namespaces_have_those_above_an_identifier() {
    let sled = Sled::new();
    [2, 5, 7].into_iter().for_each(|id| {
        sled.add(id, disk());
    });
    let mut host = sled.host();
    for cns in [0x02, 0x07, 0x10, 0x1a] {
        assert_eq!(words(&host.identify(cns, 0)), [2, 5, 7], "{cns:#x}");
        assert_eq!(words(&host.identify(cns, 5)), [7], "{cns:#x}");
        assert_eq!(words(&host.identify(cns, 7)), [] as [u32; 0], "{cns:#x}");
    }
}

#[test]
fn descriptors_have_the_identifiers_that_there_are_and_the_command_set() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let page = host.identify(3, 1);
    assert_eq!(page[..4], [3, 16, 0, 0], "a UUID");
    assert_eq!(page[4..20], [1; 16]);
    assert_eq!(page[20..25], [4, 1, 0, 0, 0], "the NVM command set");
    assert_eq!(page[25..], [0; 4071]);
    let list = NamespaceDescriptors::read_from_bytes(&page).unwrap();
    assert_eq!(list.command_set(), Some(0));
}

#[test]
fn pages_of_command_sets_are_those_of_the_nvm_command_set() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    assert_eq!(host.identify(5, 1), [0; 4096]);
    assert_eq!(host.identify(6, 0), [0; 4096], "no limits");
    let combinations = host.identify(0x1c, 0xffff);
    assert_eq!(combinations[..16], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let page = IndependentNamespace::read_from_bytes(&host.identify(8, 1)).unwrap();
    assert_eq!(page.status, 1, "ready");
    for cns in [0x05, 0x06, 0x07, 0x1a] {
        let mut entry = identify(cns, 1);
        entry.cdw10[1] = 2 << 24;
        assert_eq!(host.refused(entry), StatusCode::INVALID_FIELD, "another command set, {cns:#x}");
    }
}

#[test]
fn controllers_of_the_subsystem_and_of_a_namespace_are_listed() {
    let sled = Sled::with_disk();
    let (mut host, _other) = (sled.host(), sled.host());
    for (cns, namespace) in [(0x12, 1), (0x13, 0)] {
        assert_eq!(host.identify(cns, namespace)[..8], [2, 0, 1, 0, 2, 0, 0, 0], "{cns:#x}");
        let mut from_2 = identify(cns, namespace);
        from_2.cdw10[0] |= 2 << 16;
        host.succeed(from_2);
        assert_eq!(host.data(6), [1, 0, 2, 0, 0, 0], "{cns:#x}");
    }
}

#[test]
fn an_unknown_page_is_refused() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    for cns in [0x04, 0x09, 0x14, 0x16, 0x20, 0xff] {
        assert_eq!(host.refused(identify(cns, 1)), StatusCode::INVALID_FIELD, "{cns:#x}");
    }
}

#[test]
fn a_page_may_lie_in_two_pages_of_memory_and_a_missing_one_is_an_error() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.fill_data(12288);
    let mut entry = identify(1, 0);
    (entry.prp1, entry.prp2) = (DATA + 512, DATA + 8192);
    host.succeed(entry);
    let data = host.data(12288);
    assert_eq!(data[512 + 4..512 + 11], *b"SERIAL1");
    assert_eq!(data[4096..8192], [0xa5; 4096]);
    assert_eq!(data[8192 + 512..], [0xa5; 3584]);
    entry.prp2 = 0x7000_0000;
    host.fill_data(12288);
    assert_eq!(host.admin(entry).status.code(), StatusCode::DATA_TRANSFER_ERROR);
    assert_eq!(host.data(12288), [0xa5; 12288], "nothing of it was written");
}

#[test]
fn a_fused_command_or_one_with_an_sgl_is_refused() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    for flags in [1, 2, 1 << 6, 2 << 6, 3 << 6] {
        let entry = luge_spec::nvme::SubmissionEntry { flags, ..identify(1, 0) };
        assert_eq!(host.refused(entry), StatusCode::INVALID_FIELD, "{flags:#x}");
    }
}

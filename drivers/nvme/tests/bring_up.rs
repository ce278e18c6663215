//! Bring-up of a scripted SSD: which ones come up, and which are refused with a message.

use luge_block::{Blocks, CoreId, Device, Lba, OpenError, Operation, Status};
use luge_nvme::scripted::{Enabling, Mischief, Rig, Script, ScriptedNamespace};
use luge_nvme::{ErrorKind, FormatError, NamespaceId, Options};
use luge_spec::nvme::{Version, command_sets};

fn refusal(script: Script) -> String {
    Rig::with(script, Rig::options()).err().expect("it does not come up").to_string()
}

#[test]
fn an_ssd_comes_up_and_says_who_it_is() {
    let rig = Rig::new(Script::default());
    let identity = rig.controller.identity();
    assert_eq!(identity.model.as_str(), "Scripted SSD");
    assert_eq!(identity.serial.as_str(), "LUGE-0001");
    assert_eq!(identity.vendor, 0x1b36);
    assert_eq!(identity.transfer_bytes_max, 4096 << 5);
    let namespaces = rig.controller.namespaces();
    let geometry = namespaces[0].geometry();
    assert_eq!(namespaces.len(), 1);
    assert_eq!(namespaces[0].id(), NamespaceId(1));
    assert_eq!(geometry.block_bytes, 512);
    assert_eq!(geometry.blocks, Blocks(8192));
    assert_eq!(geometry.transfer_blocks_max, 256);
    assert!(geometry.volatile_cache);
    assert!(!geometry.read_only);
    assert_eq!(namespaces[0].nguid(), Some([0x5a; 16]));
    assert_eq!(namespaces[0].eui64(), None);
    assert_eq!(rig.ssd.dma_faults(), 0);
}

#[test]
fn an_ssd_left_running_is_stopped_before_anything_else() {
    let first = Rig::new(Script::default());
    // Its power may go, but it is still enabled.
    first.controller.shutdown().expect("shut down");
    let controller =
        luge_nvme::Controller::start(first.ssd.function(), first.space().clone(), Rig::options());
    assert!(controller.is_ok());
    assert_eq!(first.ssd.account().controller_resets, 1);
}

#[test]
fn an_ssd_that_never_becomes_ready_is_given_up_at_its_deadline() {
    let text = refusal(Script { enabling: Enabling::Never, ..Script::default() });
    assert!(text.contains("did not become ready within 500 ms"), "{text}");
}

#[test]
fn a_fatal_status_while_enabling_ends_the_wait_at_once() {
    let start = std::time::Instant::now();
    let text = refusal(Script { enabling: Enabling::Fatal, timeout_500ms: 255, ..Script::default() });
    assert!(text.contains("CSTS.CFS"), "{text}");
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn an_ssd_that_lies_or_is_silent_on_its_admin_queue_does_not_come_up() {
    for (mischief, says) in [
        (Mischief::UnknownId, "does not exist"),
        (Mischief::WrongQueue, "another queue"),
        (Mischief::Twice, "does not exist"),
        (Mischief::Silence, "did not answer Identify in time"),
    ] {
        let text = refusal(Script { admin: Some(mischief), ..Script::default() });
        assert!(text.contains(says), "{mischief:?}: {text}");
    }
}

#[test]
fn an_ssd_that_does_not_answer_is_said_to_be_gone() {
    let text = refusal(Script { present: false, ..Script::default() });
    assert!(text.starts_with("scripted: "), "{text}");
    assert!(text.contains("does not answer"), "{text}");
}

#[test]
fn an_ssd_that_fails_to_come_up_can_reach_no_memory() {
    let space = luge_memory::DmaSpace::new();
    let script = Script { enabling: Enabling::Never, ..Script::default() };
    let ssd = luge_nvme::scripted::ScriptedSsd::new(script, &space);
    assert!(luge_nvme::Controller::start(ssd.function(), space, Rig::options()).is_err());
    assert!(!ssd.is_bus_master());
}

#[test]
fn devices_that_luge_cannot_drive_are_refused_by_name() {
    let with = |command_sets| refusal(Script { command_sets, ..Script::default() });
    assert!(with(command_sets::ADMIN_ONLY).contains("admin commands only"));
    assert!(with(1 << 1).contains("NVM command set"));
    assert!(refusal(Script { page_min_log: 1, ..Script::default() }).contains("8192 bytes"));
}

#[test]
fn an_ssd_whose_combinations_of_command_sets_are_all_without_nvm_is_refused() {
    let script =
        Script { command_sets: command_sets::SEVERAL, combinations: vec![4, 2], ..Script::default() };
    assert!(refusal(script).contains("NVM command set"));
}

#[test]
fn an_ssd_that_names_no_command_set_or_contradicts_itself_serves_as_nvm() {
    for command_sets in [0, command_sets::NVM | command_sets::ADMIN_ONLY] {
        let rig = Rig::new(Script { command_sets, ..Script::default() });
        let data = [rig.buffer(0, 512)];
        assert_eq!(rig.run(&mut *rig.channel(), Operation::Read, Lba(0), &data), Status::Success);
        assert!(!rig.ssd.enabled_with_all_command_sets());
    }
}

#[test]
fn namespaces_with_metadata_or_protection_are_refused_and_the_others_serve() {
    let namespaces = vec![
        ScriptedNamespace { metadata_bytes: 8, ..ScriptedNamespace::new(1, 9) },
        ScriptedNamespace { protection: 1, ..ScriptedNamespace::new(3, 9) },
        ScriptedNamespace { block_shift: 8, ..ScriptedNamespace::new(4, 9) },
        ScriptedNamespace::new(7, 12),
    ];
    let rig = Rig::new(Script { namespaces, ..Script::default() });
    let usable: Vec<_> = rig.controller.namespaces().iter().map(|namespace| namespace.id()).collect();
    assert_eq!(usable, [NamespaceId(7)]);
    let refused = rig.controller.refused();
    let reasons: Vec<_> = refused.iter().map(|refused| (refused.id.0, refused.reason)).collect();
    let expected =
        [(1, FormatError::Metadata(8)), (3, FormatError::Protection), (4, FormatError::BlockSize(8))];
    assert_eq!(reasons, expected);
    assert!(refused[0].to_string().contains("namespace 1"));
    assert!(refused[0].to_string().contains("metadata"));
}

#[test]
fn an_ssd_of_version_1_0_has_no_list_of_namespaces_and_is_asked_one_by_one() {
    let namespaces = vec![ScriptedNamespace::new(2, 9), ScriptedNamespace::new(3, 12)];
    let rig = Rig::new(Script { version: Version(0x0001_0000), namespaces, ..Script::default() });
    let found: Vec<_> = rig.controller.namespaces().iter().map(|namespace| namespace.id().0).collect();
    assert_eq!(found, [2, 3]);
}

#[test]
fn more_namespaces_than_one_list_holds_are_all_found() {
    let namespaces = (1..=1024).map(|id| ScriptedNamespace { blocks: 8, ..ScriptedNamespace::new(id, 9) });
    let rig = Rig::new(Script { namespaces: namespaces.collect(), ..Script::default() });
    assert_eq!(rig.controller.namespaces().len(), 1024);
}

#[test]
fn blocks_of_4_kib_are_read_and_written() {
    let namespaces = vec![ScriptedNamespace::new(1, 12)];
    let rig = Rig::new(Script { namespaces, ..Script::default() });
    let mut channel = rig.channel();
    let data = rig.buffer(0, 8192);
    data.fill(0xa5);
    let write = Operation::Write(luge_block::Durability::Cache);
    assert_eq!(rig.run(&mut *channel, write, Lba(3), &[data]), Status::Success);
    assert_eq!(rig.ssd.media(1, 3, 2), vec![0xa5; 8192]);
    assert_eq!(rig.ssd.media(1, 5, 1), vec![0; 4096]);
}

#[test]
fn a_channel_more_than_the_ssd_has_queues_is_refused_and_one_given_back_serves_again() {
    let rig = Rig::new(Script { queue_pairs: 2, ..Script::default() });
    let namespace = &rig.controller.namespaces()[0];
    let (first, second) = (namespace.open(CoreId(0)).unwrap(), namespace.open(CoreId(1)).unwrap());
    assert!(matches!(namespace.open(CoreId(2)), Err(OpenError::NoQueue { queues: 2, .. })));
    drop(first);
    assert_eq!(rig.ssd.io_queues(), 1);
    let third = namespace.open(CoreId(2)).unwrap();
    assert_eq!(rig.ssd.io_queues(), 2);
    drop((second, third));
    assert_eq!(rig.ssd.io_queues(), 0);
    assert_eq!(rig.ssd.dma_faults(), 0);
}

#[test]
fn an_ssd_that_gives_fewer_queues_than_it_grants_has_no_queue_left() {
    let rig = Rig::new(Script { queue_pairs: 1, granted: Some(64), ..Script::default() });
    let namespace = &rig.controller.namespaces()[0];
    let mut first = namespace.open(CoreId(0)).unwrap();
    for _ in 0..100 {
        assert!(matches!(namespace.open(CoreId(1)), Err(OpenError::NoQueue { .. })));
    }
    assert_eq!(rig.run(&mut *first, Operation::Read, Lba(0), &[rig.buffer(0, 512)]), Status::Success);
    drop(first);
    assert!(namespace.open(CoreId(1)).is_ok());
    assert_eq!(rig.ssd.account().controller_resets, 0);
}

#[test]
fn an_ssd_that_gives_no_queue_at_all_says_why() {
    let rig = Rig::new(Script { queues_work: false, ..Script::default() });
    let refusal = rig.controller.namespaces()[0].open(CoreId(0)).err().unwrap().to_string();
    assert!(refusal.contains("refused Create I/O Completion Queue"), "{refusal}");
}

#[test]
fn more_queues_than_asked_for_are_not_used() {
    let rig = Rig::new(Script { queue_pairs: 8, granted: Some(u16::MAX), ..Script::default() });
    assert_eq!(rig.controller.queue_pairs(), Options::default().queue_pairs);
}

#[test]
fn queues_are_no_longer_than_the_ssd_allows() {
    let rig = Rig::new(Script { queue_entries_z: 6, ..Script::default() });
    assert_eq!(rig.channel().room(), 3, "four entries, the largest power of two in seven, less one");
}

#[test]
fn doorbells_are_as_far_apart_as_the_ssd_says() {
    let rig = Rig::new(Script { stride_log: 4, ..Script::default() });
    let mut channel = rig.channel();
    assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(0), &[rig.buffer(0, 512)]), Status::Success);
}

#[test]
fn the_admin_queue_works_by_interrupt_too() {
    let rig = Rig::new(Script { vectors: 1, ..Script::default() });
    assert!(rig.controller.smart().is_ok());
    drop(rig.channel());
    assert_eq!(rig.ssd.io_queues(), 0);
}

#[test]
fn an_error_keeps_what_happened_for_who_wants_to_act_on_it() {
    let script = Script { present: false, ..Script::default() };
    let error = Rig::with(script, Rig::options()).err().unwrap();
    assert!(matches!(error.kind, ErrorKind::Silent));
}

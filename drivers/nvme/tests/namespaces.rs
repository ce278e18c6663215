//! Namespaces that are found, whatever the SSD says of them: at bring-up, after a reset, and while it serves.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use luge_block::{Channel, CoreId, Device, Lba, Operation, Refusal, Request, Status, Tag};
use luge_nvme::scripted::{Listing, Rig, Script, ScriptedNamespace};
use luge_nvme::{ControllerState, ErrorKind, FormatError, Options};
use luge_spec::nvme::{AsyncEvent, StatusCode, Version, command_sets};
use std::time::Duration;

fn four() -> Vec<ScriptedNamespace> {
    [1, 2, 3, 4].map(|id| ScriptedNamespace { atomic_z: 7, ..ScriptedNamespace::new(id, 9) }).into()
}

fn ids(rig: &Rig) -> Vec<u32> {
    rig.controller.namespaces().iter().map(|namespace| namespace.id().0).collect()
}

fn found(listing: Listing) -> Vec<u32> {
    ids(&Rig::new(Script { namespaces: four(), listing, ..Script::default() }))
}

#[test]
fn namespaces_are_asked_for_one_by_one_where_the_list_of_them_is_refused() {
    assert_eq!(found(Listing::Refused(StatusCode::INVALID_FIELD)), [1, 2, 3, 4]);
    assert_eq!(found(Listing::Refused(StatusCode::INTERNAL_ERROR)), [1, 2, 3, 4]);
}

#[test]
fn namespaces_are_asked_for_one_by_one_where_the_list_of_them_is_empty() {
    assert_eq!(found(Listing::Ids(vec![])), [1, 2, 3, 4]);
}

#[test]
fn namespaces_are_asked_for_one_by_one_where_the_list_names_some_beyond_the_last() {
    assert_eq!(found(Listing::Ids(vec![2, 0x0100_0000])), [1, 2, 3, 4]);
    assert_eq!(found(Listing::Ids(vec![u32::MAX; 1024])), [1, 2, 3, 4]);
}

#[test]
fn a_list_out_of_order_or_with_repetitions_names_each_namespace_once() {
    assert_eq!(found(Listing::Ids(vec![3, 1, 3, 2])), [1, 2, 3]);
    assert_eq!(found(Listing::Ids(vec![2; 1024])), [2]);
}

#[test]
fn a_list_without_an_end_is_read_up_to_a_limit() {
    let script = Script {
        namespaces: four(),
        namespaces_max: Some(u32::MAX),
        listing: Listing::Endless,
        ..Script::default()
    };
    assert_eq!(ids(&Rig::new(script)), [1, 2, 3, 4]);
}

#[test]
fn an_ssd_that_claims_four_billion_namespaces_and_lists_none_comes_up() {
    let script = Script {
        namespaces: four(),
        namespaces_max: Some(u32::MAX),
        listing: Listing::Ids(vec![]),
        ..Script::default()
    };
    assert_eq!(ids(&Rig::new(script)), [1, 2, 3, 4]);
}

#[test]
fn an_ssd_without_a_namespace_comes_up() {
    let rig = Rig::new(Script { namespaces: vec![], ..Script::default() });
    assert!(ids(&rig).is_empty());
    assert!(rig.controller.smart().is_ok());
}

/// Statuses with which Identify Namespace may fail on an SSD that works otherwise.
const REFUSALS: [StatusCode; 4] = [
    StatusCode::INVALID_NAMESPACE,
    StatusCode::NAMESPACE_NOT_READY,
    StatusCode::FORMAT_IN_PROGRESS,
    StatusCode::INTERNAL_ERROR,
];

#[test]
fn a_namespace_that_cannot_be_identified_is_refused_by_name_and_the_others_serve() {
    for status in REFUSALS {
        let mut namespaces = four();
        namespaces[1].identify = status;
        let rig = Rig::new(Script { namespaces, ..Script::default() });
        assert_eq!(ids(&rig), [1, 3, 4]);
        let refused = rig.controller.refused();
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].id.0, 2);
        assert_eq!(refused[0].reason, FormatError::Identify(status));
        let text = refused[0].to_string();
        assert!(text.contains("namespace 2"), "{text}");
        assert!(text.contains(&status.to_string()), "{text}");
        let mut channel = rig.channel();
        assert_eq!(read(&rig, &mut *channel), Status::Success);
    }
}

#[test]
fn identifiers_that_an_old_ssd_does_not_have_are_no_refusals() {
    for status in [StatusCode::INVALID_NAMESPACE, StatusCode::INVALID_FIELD] {
        let mut namespaces = four();
        namespaces[1].identify = status;
        let rig = Rig::new(Script { version: Version(0x0001_0000), namespaces, ..Script::default() });
        assert_eq!(ids(&rig), [1, 3, 4]);
        assert!(rig.controller.refused().is_empty());
    }
}

fn read(rig: &Rig, channel: &mut dyn Channel) -> Status {
    read_at(rig, channel, Lba(0))
}

/// Reads the first block of the second namespace.
fn read_second(rig: &Rig, channel: &mut dyn Channel) -> Status {
    read_at(rig, channel, rig.controller.namespaces()[1].window())
}

fn read_at(rig: &Rig, channel: &mut dyn Channel, at: Lba) -> Status {
    rig.run(channel, Operation::Read, at, &[rig.buffer(0, 512)])
}

/// Rig with a channel of the first namespace and one of the second.
struct Two {
    rig: Rig,
    first: Box<dyn Channel>,
    second: Box<dyn Channel>,
}

fn two() -> Two {
    let rig = Rig::new(Script { namespaces: four(), ..Script::default() });
    let open = |index: usize| rig.controller.namespaces()[index].open(CoreId(0)).unwrap();
    let (first, second) = (open(0), open(1));
    Two { rig, first, second }
}

impl Two {
    /// Changes the SSD and lets it fail; asserts that it is reset, and that its first namespace serves as before.
    fn reset_with(&mut self, change: impl FnOnce(&mut Script)) {
        self.rig.ssd.script(change);
        self.rig.ssd.fail();
        Rig::until("it was reset", || self.rig.ssd.account().controller_resets == 1);
        self.rig.until_room(&mut *self.first);
        assert_eq!(read(&self.rig, &mut *self.first), Status::Success);
        assert_eq!(self.rig.controller.state(), ControllerState::Live);
    }

    /// Asserts that requests to the second namespace fail.
    fn second_fails(&mut self) {
        self.rig.until_room(&mut *self.second);
        let data = [self.rig.buffer(0, 512)];
        let lba = self.rig.controller.namespaces()[1].window();
        let request =
            Request { tag: Tag::default(), operation: Operation::Read, lba, blocks: 1, data: &data };
        assert_eq!(self.second.submit(&request), Err(Refusal::Failed(Status::DeviceError)));
        assert_eq!(self.second.in_flight(), 0);
    }

    fn unusable(&self) -> Vec<(u32, FormatError)> {
        self.rig.controller.unusable().iter().map(|refused| (refused.id.0, refused.reason)).collect()
    }
}

#[test]
fn an_unused_namespace_that_is_not_ready_after_a_reset_disturbs_nobody() {
    for status in REFUSALS {
        let mut two = two();
        two.reset_with(|script| script.namespaces[3].identify = status);
        two.rig.until_room(&mut *two.second);
        assert_eq!(read_second(&two.rig, &mut *two.second), Status::Success);
        assert_eq!(two.unusable(), [(4, FormatError::Identify(status))]);
        let text = two.rig.controller.namespaces()[3].open(CoreId(1)).err().unwrap().to_string();
        assert!(text.contains("namespace 4"), "{text}");
        assert!(text.contains(&status.to_string()), "{text}");
    }
}

#[test]
fn a_namespace_in_use_that_cannot_be_identified_after_a_reset_fails_its_own_requests() {
    for status in REFUSALS {
        let mut two = two();
        two.reset_with(|script| script.namespaces[1].identify = status);
        two.second_fails();
        assert_eq!(two.unusable(), [(2, FormatError::Identify(status))]);
        assert_eq!(two.rig.controller.namespaces()[1].unusable(), Some(FormatError::Identify(status)));
        assert_eq!(two.rig.controller.namespaces()[0].unusable(), None);
        assert_eq!(two.rig.ssd.dma_faults(), 0);
    }
}

#[test]
fn a_namespace_that_becomes_ready_again_serves_again() {
    let mut two = two();
    two.reset_with(|script| script.namespaces[1].identify = StatusCode::NAMESPACE_NOT_READY);
    two.second_fails();
    two.rig.ssd.script(|script| script.namespaces[1].identify = StatusCode::SUCCESS);
    Rig::until("it is usable", || two.unusable().is_empty() && two.rig.ssd.io_queues() == 2);
    for _ in 0..40 {
        two.rig.until_room(&mut *two.second);
        assert_eq!(read_second(&two.rig, &mut *two.second), Status::Success);
    }
    assert_eq!(two.rig.ssd.account().controller_resets, 1);
}

#[test]
fn a_namespace_that_is_not_ready_outlives_a_second_reset() {
    let mut two = two();
    two.reset_with(|script| script.namespaces[1].identify = StatusCode::NAMESPACE_NOT_READY);
    two.second_fails();
    two.rig.ssd.fail();
    Rig::until("it was reset again", || two.rig.ssd.account().controller_resets == 2);
    two.second_fails();
    two.rig.ssd.script(|script| script.namespaces[1].identify = StatusCode::SUCCESS);
    two.rig.until_room(&mut *two.first);
    Rig::until("it is usable", || two.unusable().is_empty() && two.rig.ssd.io_queues() == 2);
    two.rig.until_room(&mut *two.second);
    assert_eq!(read_second(&two.rig, &mut *two.second), Status::Success);
}

/// Changes of the second namespace after which it must not be used.
const CHANGES: [fn(&mut Script); 5] = [
    |script| script.namespaces[1].atomic_z = 6,
    |script| script.namespaces[1].block_shift = 12,
    |script| script.namespaces[1].blocks -= 1,
    |script| script.namespaces[1].blocks = 0,
    |script| script.namespaces.retain(|namespace| namespace.id != 2),
];

#[test]
fn a_namespace_that_changes_while_it_serves_fails_its_own_requests() {
    for change in CHANGES {
        let mut two = two();
        two.rig.ssd.script(change);
        two.rig.ssd.raise(AsyncEvent::NAMESPACES_CHANGED);
        Rig::until("it is excluded", || two.unusable() == [(2, FormatError::Changed)]);
        two.second_fails();
        assert_eq!(read(&two.rig, &mut *two.first), Status::Success);
        assert_eq!(two.rig.ssd.account().controller_resets, 0);
    }
}

#[test]
fn a_namespace_that_changes_back_serves_again() {
    let mut two = two();
    two.rig.ssd.script(|script| script.namespaces[1].block_shift = 12);
    two.rig.ssd.raise(AsyncEvent::NAMESPACES_CHANGED);
    Rig::until("it is excluded", || !two.unusable().is_empty());
    two.rig.ssd.script(|script| script.namespaces[1].block_shift = 9);
    two.rig.ssd.raise(AsyncEvent::NAMESPACES_CHANGED);
    Rig::until("it is usable", || two.unusable().is_empty());
    assert_eq!(read_second(&two.rig, &mut *two.second), Status::Success);
}

#[test]
fn changes_without_end_keep_no_namespace_from_being_asked_for() {
    let namespaces = (1..=60).map(|id| ScriptedNamespace { blocks: 8, ..ScriptedNamespace::new(id, 9) });
    let rig = Rig::new(Script { namespaces: namespaces.collect(), ..Script::default() });
    rig.ssd.script(|script| script.namespaces[59].block_shift = 12);
    (0..2000).for_each(|_| rig.ssd.raise(AsyncEvent::NAMESPACES_CHANGED));
    Rig::until("the last is excluded", || rig.controller.unusable().len() == 1);
    assert_eq!(rig.controller.unusable()[0].id.0, 60);
}

#[test]
fn a_namespace_in_use_that_was_formatted_or_is_gone_fails_its_own_requests() {
    for change in CHANGES {
        let mut two = two();
        two.reset_with(change);
        two.second_fails();
        assert_eq!(two.unusable(), [(2, FormatError::Changed)]);
    }
}

#[test]
fn a_channel_of_an_unusable_namespace_is_closed_and_its_queue_is_free() {
    let mut two = two();
    two.reset_with(|script| script.namespaces[1].identify = StatusCode::NAMESPACE_NOT_READY);
    two.second_fails();
    let Two { rig, first: _first, second } = two;
    drop(second);
    let open = |index: usize, core| rig.controller.namespaces()[index].open(CoreId(core));
    let _channels = [open(2, 1).unwrap(), open(2, 2).unwrap(), open(3, 3).unwrap()];
    assert_eq!(rig.ssd.io_queues(), 4);
}

#[test]
fn an_ssd_with_an_unusable_namespace_that_is_shut_down_ends_as_any_other() {
    let mut two = two();
    two.reset_with(|script| script.namespaces[1].identify = StatusCode::NAMESPACE_NOT_READY);
    two.rig.controller.shutdown().unwrap();
    assert_eq!(two.rig.ssd.account().queues_at_shutdown, 0);
    assert!(two.second.room() > 0, "requests come, so that they fail");
}

#[test]
fn an_ssd_that_claims_other_namespaces_after_a_reset_keeps_those_it_had() {
    for (namespaces_max, listing) in
        [(Some(0), Listing::Ids(vec![])), (Some(u32::MAX), Listing::Endless), (Some(1), Listing::True)]
    {
        let mut two = two();
        two.reset_with(|script| (script.namespaces_max, script.listing) = (namespaces_max, listing));
        two.rig.until_room(&mut *two.second);
        assert_eq!(read_second(&two.rig, &mut *two.second), Status::Success);
        assert!(two.unusable().is_empty());
    }
}

#[test]
fn a_namespace_that_claims_more_blocks_than_its_window_has_is_refused_alone() {
    let mut namespaces = four();
    namespaces[0].blocks = 1 << 48;
    namespaces[1].blocks = (1 << 48) + 1;
    let rig = Rig::new(Script { namespaces, ..Script::default() });
    assert_eq!(ids(&rig), [1, 3, 4]);
    let refused = rig.controller.refused().iter().map(|refused| (refused.id.0, refused.reason));
    assert_eq!(refused.collect::<Vec<_>>(), [(2, FormatError::Size((1 << 48) + 1))]);
}

#[test]
fn an_ssd_that_takes_its_time_to_identify_serves_those_it_has_identified() {
    let namespaces = (1..=200).map(|id| ScriptedNamespace { blocks: 8, ..ScriptedNamespace::new(id, 9) });
    let script = Script {
        namespaces: namespaces.collect(),
        identify_takes: Duration::from_millis(5),
        ..Script::default()
    };
    let rig = Rig::new(script);
    assert!((1..200).contains(&ids(&rig).len()), "{}", ids(&rig).len());
    let mut channel = rig.channel();
    assert_eq!(read(&rig, &mut *channel), Status::Success);
}

#[test]
fn an_ssd_that_answers_identify_with_one_byte_throughout_has_no_namespace() {
    for fill in [0x00, 0x01, 0x5a, 0xff] {
        for command_sets in [command_sets::NVM, command_sets::NVM | command_sets::SEVERAL] {
            let script = Script { identify_fill: Some(fill), command_sets, ..Script::default() };
            let patient = Options { command_timeout: Duration::from_secs(20), ..Rig::options() };
            match Rig::with(script, patient) {
                Ok(rig) => assert_eq!(ids(&rig), [0; 0], "{fill:#x}"),
                Err(error) => assert!(matches!(error.kind, ErrorKind::NoNvmCommands), "{error}"),
            }
        }
    }
}

#[test]
fn an_ssd_that_answers_identify_with_ones_after_a_reset_is_not_taken_for_the_old_one() {
    let rig = Rig::new(Script::default());
    rig.ssd.script(|script| script.identify_fill = Some(0xff));
    rig.ssd.fail();
    Rig::until("it is given up", || rig.controller.state() == ControllerState::Gone);
}

fn several(sets: u8, combinations: Vec<u64>, namespaces: Vec<ScriptedNamespace>) -> Rig {
    Rig::new(Script { command_sets: sets, combinations, namespaces, ..Script::default() })
}

/// CSI of the zoned namespace command set.
const ZONED: u8 = 2;

#[test]
fn of_several_command_sets_only_namespaces_of_the_nvm_command_set_are_used() {
    let mut namespaces = four();
    namespaces[2].command_set = ZONED;
    for sets in [command_sets::SEVERAL, command_sets::SEVERAL | command_sets::NVM] {
        let rig = several(sets, vec![1 << ZONED, 1 | 1 << ZONED], namespaces.clone());
        assert_eq!(ids(&rig), [1, 2, 4]);
        assert_eq!(rig.controller.refused()[0].reason, FormatError::CommandSet(Some(ZONED)));
        assert_eq!(rig.ssd.profile(), Some(1), "the combination with the NVM command set");
        assert!(rig.ssd.enabled_with_all_command_sets());
        assert_eq!(read(&rig, &mut *rig.channel()), Status::Success);
    }
}

#[test]
fn an_ssd_that_cannot_tell_its_combinations_of_command_sets_is_used() {
    let rig = several(command_sets::SEVERAL | command_sets::NVM, vec![], four());
    assert_eq!(ids(&rig), [1, 2, 3, 4]);
}

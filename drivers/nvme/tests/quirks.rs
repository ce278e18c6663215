//! Models with quirks: each is used as it needs it.

use luge_block::{Device, Lba, Operation, Refusal, Request, Status, Tag};
use luge_memory::PciId;
use luge_nvme::ControllerState;
use luge_nvme::scripted::{Mischief, Rig, Script, ScriptedNamespace, Weakness};
use luge_spec::nvme::Version;
use std::time::Duration;

fn model(vendor: u16, device: u16, weakness: Weakness) -> Script {
    Script { model: PciId { vendor, device }, weakness: Some(weakness), ..Script::default() }
}

fn read(rig: &Rig) -> Status {
    rig.run(&mut *rig.channel(), Operation::Read, Lba(0), &[rig.buffer(0, 512)])
}

#[test]
fn a_model_that_must_not_be_looked_at_after_disabling_is_left_alone() {
    let rig = Rig::new(model(0x1c58, 0x0003, Weakness::LookAfterDisable(Duration::from_millis(2300))));
    rig.ssd.misbehave([Some(Mischief::Fatal)]);
    assert_eq!(read(&rig), Status::Aborted);
    Rig::until("it was reset", || rig.ssd.account().controller_resets == 1);
    assert_eq!(read(&rig), Status::Success);
    assert_eq!(rig.ssd.account().function_resets, 0);
    assert_eq!(rig.controller.state(), ControllerState::Live);
}

#[test]
fn a_model_that_must_not_be_touched_after_a_function_reset_is_left_alone() {
    let rig = Rig::new(model(0x8086, 0x0953, Weakness::WriteAfterReset(Duration::from_secs(2))));
    rig.ssd.script(|script| script.disable_works = false);
    rig.ssd.misbehave([Some(Mischief::Fatal)]);
    assert_eq!(read(&rig), Status::Aborted);
    Rig::until("it was reset", || rig.ssd.account().function_resets == 1);
    assert_eq!(read(&rig), Status::Success);
}

#[test]
fn a_model_whose_queues_are_not_ready_at_once_is_given_time() {
    let rig = Rig::new(model(0x80ee, 0x4e56, Weakness::CommandAfterCreation(Duration::from_micros(100))));
    assert_eq!(read(&rig), Status::Success);
    assert_eq!(rig.ssd.account().controller_resets, 0);
}

#[test]
fn a_model_that_takes_one_command_at_a_time_gets_one_at_a_time() {
    let rig = Rig::new(model(0x106b, 0x2001, Weakness::TwoCommands));
    let mut channel = rig.channel();
    let data = [rig.buffer(0, 512)];
    let request = |slot| Request {
        tag: Tag::new(0, slot),
        operation: Operation::Read,
        lba: Lba(0),
        blocks: 1,
        data: &data,
    };
    assert_eq!(channel.submit(&request(0)), Ok(()));
    assert_eq!(channel.submit(&request(1)), Err(Refusal::Full));
    channel.commit();
    assert_eq!(rig.drain(&mut *channel)[0].status(), Status::Success);
    assert!(rig.controller.smart().is_ok(), "the admin queue is as long as any");
    assert_eq!(rig.ssd.account().controller_resets, 0);
}

#[test]
fn a_model_that_does_not_tell_how_long_its_queues_may_be_gets_the_known_length() {
    let script = Script { queue_entries_z: 0, ..model(0x144d, 0xa821, Weakness::PartOfPage) };
    let rig = Rig::new(script);
    assert_eq!(rig.channel().room(), 15, "the driver's own choice in this rig, less one");
}

#[test]
fn write_zeroes_is_not_sent_to_a_model_that_breaks_by_it() {
    let rig = Rig::new(model(0x1987, 0x5019, Weakness::WriteZeroes));
    assert_eq!(rig.controller.namespaces()[0].geometry().write_zeroes_blocks_max, 0);
    let zeroes =
        Request { tag: Tag::default(), operation: Operation::WriteZeroes, lba: Lba(0), blocks: 1, data: &[] };
    assert_eq!(rig.channel().submit(&zeroes), Err(Refusal::Failed(Status::Unsupported)));
    assert_eq!(rig.ssd.step(), 0, "nothing was sent");
}

#[test]
fn a_model_that_breaks_by_any_but_basic_identify_is_asked_for_nothing_else() {
    let namespaces = vec![ScriptedNamespace::new(1, 9), ScriptedNamespace::new(3, 9)];
    for version in [Version(0x0001_0200), Version::V2_0] {
        let script = Script {
            version,
            namespaces: namespaces.clone(),
            ..model(0x8086, 0x5845, Weakness::IdentifyBeyondBasic)
        };
        let rig = Rig::new(script);
        assert_eq!(rig.controller.namespaces().len(), 2);
        assert_eq!(read(&rig), Status::Success);
    }
}

#[test]
fn a_model_that_takes_small_command_identifiers_only_gets_no_others() {
    let rig = Rig::new(model(0x106b, 0x2005, Weakness::LargeIdentifiers));
    let mut channel = rig.channel();
    let data = [rig.buffer(0, 512)];
    for _ in 0..20 {
        assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(0), &data), Status::Success);
    }
    for _ in 0..100 {
        assert!(rig.controller.smart().is_ok(), "the admin queue has identifiers below 64");
    }
    assert_eq!(rig.ssd.account().controller_resets, 0);
}

#[test]
fn identifiers_that_a_model_has_in_common_with_all_its_kind_are_none() {
    let script = Script { model: PciId { vendor: 0x126f, device: 0x2263 }, ..Script::default() };
    assert_eq!(Rig::new(script).controller.namespaces()[0].nguid(), None);
    let ones = ScriptedNamespace { nguid: [0xff; 16], ..ScriptedNamespace::new(1, 9) };
    let rig = Rig::new(Script { namespaces: vec![ones], ..Script::default() });
    assert_eq!(rig.controller.namespaces()[0].nguid(), None, "all ones identify nothing");
}

#[test]
fn the_admin_queue_is_a_whole_page_for_models_that_take_no_part_of_one() {
    let script = Script { weakness: Some(Weakness::PartOfPage), ..Script::default() };
    assert_eq!(read(&Rig::new(script)), Status::Success);
}

#[test]
fn write_zeroes_is_no_longer_than_a_transfer_before_version_2_0() {
    let blocks = |version, write_zeroes_max| {
        let script = Script { version, transfer_max: 5, write_zeroes_max, ..Script::default() };
        Rig::new(script).controller.namespaces()[0].geometry().write_zeroes_blocks_max
    };
    assert_eq!(blocks(Version(0x0001_0400), 0), 256);
    assert_eq!(blocks(Version::V2_0, 0), 65536, "2.0 has a limit of its own, and none is told");
    assert_eq!(blocks(Version::V2_0, 6), 512);
}

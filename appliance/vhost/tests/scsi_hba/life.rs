//! LUNs that are added and removed while a guest runs.

use crate::rig::client::until;
use crate::scene::{BLOCK, Command, Scene, at, slow_unit, unit, unit_on};
use luge_block::{Channel, CoreId, Device, Geometry, OpenError};
use luge_scsi::LogicalUnit;
use luge_spec::virtio::scsi::{EventKind, REQUEST_QUEUE, Response, TaskManagementFunction, reset_reason};
use luge_vhost::{LunAddress, LunError, LunPhase};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

/// A second request queue.
const SECOND_QUEUE: u16 = REQUEST_QUEUE + 1;

#[test]
fn a_lun_that_is_added_serves_and_the_guest_is_told() {
    let mut scene = Scene::new();
    assert_eq!(scene.command(&Command::test_unit_ready(at(3, 0))).response, Response::BAD_TARGET);
    scene.hba().add_lun(at(3, 0), &unit()).unwrap();
    let event = scene.next_event();
    assert_eq!(event.kind, EventKind::TRANSPORT_RESET);
    assert_eq!(event.reason.get(), reset_reason::RESCAN);
    assert_eq!(event.lun.0, [1, 3, 0, 0, 0, 0, 0, 0], "as REPORT LUNS tells it");
    scene.settle(at(3, 0));
    let data = vec![7; BLOCK as usize];
    assert_eq!(scene.command(&Command::write(at(3, 0), 8, &data)).status, 0);
    assert_eq!(scene.command(&Command::read(at(3, 0), 8, 1).by(SECOND_QUEUE)).data, data);
}

#[test]
fn a_lun_that_is_removed_is_there_no_more_and_the_guest_is_told() {
    let mut scene = Scene::new();
    scene.hba().add_lun(at(0, 0), &unit()).unwrap();
    scene.hba().add_lun(at(0, 5), &unit()).unwrap();
    assert_eq!(scene.next_event().lun, at(0, 0).to_field());
    assert_eq!(scene.next_event().lun, at(0, 5).to_field());
    [at(0, 0), at(0, 5)].into_iter().for_each(|lun| scene.settle(lun));
    scene.hba().remove_lun(at(0, 5)).unwrap();
    let event = scene.next_event();
    assert_eq!(event.reason.get(), reset_reason::REMOVED);
    assert_eq!(event.lun, at(0, 5).to_field());
    let end = scene.command(&Command::read(at(0, 0), 0, 1));
    assert_eq!(
        end.sense_code(),
        Some(0x3f0e),
        "REPORTED LUNS DATA HAS CHANGED, for the others of the target"
    );
    assert_ne!(scene.command(&Command::read(at(0, 5), 0, 1)).status, 0);
    scene.hba().remove_lun(at(0, 0)).unwrap();
    assert_eq!(scene.command(&Command::read(at(0, 0), 0, 1)).response, Response::BAD_TARGET);
    assert!(scene.hba().luns().is_empty());
}

#[test]
fn a_lun_comes_and_goes_a_hundred_times_under_load_on_it_and_beside_it() {
    let mut scene = Scene::new();
    scene.hba().add_lun(at(1, 0), &unit()).unwrap();
    scene.settle(at(1, 0));
    let hot = unit();
    let hba = scene.hba().clone();
    let (told, ended) = channel();
    let plugging = thread::spawn(move || {
        for _ in 0..100 {
            hba.add_lun(at(2, 0), &hot).unwrap();
            hba.remove_lun(at(2, 0)).unwrap();
        }
        told.send(()).unwrap();
    });
    let mut served = 0;
    while ended.try_recv().is_err() {
        let beside: Vec<_> = (0..8).map(|lba| scene.send(&Command::read(at(1, 0), lba, 4))).collect();
        let hot: Vec<_> =
            (0..8).map(|lba| scene.send(&Command::read(at(2, 0), lba, 4).by(SECOND_QUEUE))).collect();
        for _ in &beside {
            scene.used(REQUEST_QUEUE);
        }
        for _ in &hot {
            scene.used(SECOND_QUEUE);
        }
        assert!(beside.iter().all(|sent| scene.end_of(sent).status == 0), "beside it");
        let hot = hot.iter().map(|sent| scene.end_of(sent));
        served += hot.filter(|end| end.response == Response::OK && end.status == 0).count();
    }
    plugging.join().unwrap();
    assert_eq!(scene.hba().luns().len(), 1);
    // The guest may have found it there or not, but with a LUN that it was told of nothing is lost.
    assert!(served > 0 || scene.next_event().kind == EventKind::TRANSPORT_RESET.with_missed());
}

/// Begins to remove a LUN; the receiver hears when it is gone.
fn remove(scene: &Scene, address: LunAddress) -> std::sync::mpsc::Receiver<Result<(), LunError>> {
    let (hba, (told, ended)) = (scene.hba().clone(), channel());
    thread::spawn(move || {
        let removed = hba.remove_lun(address);
        drop(hba);
        told.send(removed).unwrap();
    });
    ended
}

#[test]
fn a_removal_waits_for_its_own_requests_and_delays_nobody_else() {
    let mut scene = Scene::new();
    let (slow, delay) = slow_unit();
    scene.hba().add_lun(at(0, 0), &slow).unwrap();
    scene.hba().add_lun(at(0, 1), &unit()).unwrap();
    [at(0, 0), at(0, 1)].into_iter().for_each(|lun| scene.settle(lun));
    delay.hold();
    let stuck = scene.send(&Command::read(at(0, 0), 0, 1).tagged(77));
    until(|| {
        scene.function(TaskManagementFunction::QUERY_TASK, at(0, 0), 77) == Response::FUNCTION_SUCCEEDED
    });
    let removed = remove(&scene, at(0, 0));
    until(|| scene.phase(at(0, 0)) == Some(LunPhase::Removing));
    // All of this goes on meanwhile.
    let again = remove(&scene, at(0, 0));
    for lba in 0..20 {
        assert_eq!(scene.past_attentions(&Command::read(at(0, 1), lba, 1).by(SECOND_QUEUE)).status, 0);
    }
    scene.hba().add_lun(at(0, 2), &unit()).unwrap();
    scene.settle_by(at(0, 2), SECOND_QUEUE);
    scene.hba().remove_lun(at(0, 2)).unwrap();
    assert!(matches!(scene.hba().add_lun(at(0, 0), &unit()), Err(LunError::Removing(_))));
    assert_ne!(scene.command(&Command::read(at(0, 0), 0, 1).by(SECOND_QUEUE)).status, 0, "no new requests");
    assert!(removed.try_recv().is_err(), "its last request is in flight");
    delay.release();
    assert_eq!(scene.await_command(&stuck).status, 0, "its own status");
    removed.recv().unwrap().unwrap();
    again.recv().unwrap().unwrap();
    assert_eq!(scene.phase(at(0, 0)), None);
    scene.hba().add_lun(at(0, 0), &slow).unwrap();
    scene.settle(at(0, 0));
}

#[test]
fn a_function_about_a_lun_that_is_being_removed_waits_for_its_requests() {
    let mut scene = Scene::new();
    let (slow, delay) = slow_unit();
    scene.hba().add_lun(at(0, 0), &slow).unwrap();
    scene.settle(at(0, 0));
    delay.hold();
    let stuck = scene.send(&Command::read(at(0, 0), 0, 1).tagged(77));
    until(|| {
        scene.function(TaskManagementFunction::QUERY_TASK, at(0, 0), 77) == Response::FUNCTION_SUCCEEDED
    });
    let removed = remove(&scene, at(0, 0));
    until(|| scene.phase(at(0, 0)) == Some(LunPhase::Removing));
    // A guest that gives up its memory when it hears that there is no such LUN would have it overwritten.
    let abort = scene.send_function(TaskManagementFunction::ABORT_TASK, at(0, 0), 77);
    let query = TaskManagementFunction::QUERY_TASK_SET;
    assert_eq!(scene.function(query, at(0, 0), 0), Response::FUNCTION_SUCCEEDED, "before the first one");
    assert!(removed.try_recv().is_err());
    delay.release();
    assert_eq!(scene.await_function(&abort), Response::FUNCTION_COMPLETE);
    let (head, _) = scene.ring(REQUEST_QUEUE).queue.driver.take_used().expect("used before the function");
    assert_eq!(head, stuck.head);
    assert_eq!(scene.end_of(&stuck).response, Response::ABORTED);
    removed.recv().unwrap().unwrap();
    assert_eq!(scene.function(query, at(0, 0), 0), Response::BAD_TARGET);
}

#[test]
fn a_lun_whose_device_is_gone_leaves_by_itself_and_its_place_is_free() {
    let mut scene = Scene::new();
    let (slow, delay) = slow_unit();
    scene.hba().add_lun(at(4, 1), &slow).unwrap();
    scene.settle(at(4, 1));
    scene.next_event();
    delay.hold();
    let stuck = scene.send(&Command::read(at(4, 1), 0, 1));
    scene.hba().unit_gone(&slow);
    assert_eq!(scene.next_event().reason.get(), reset_reason::REMOVED);
    assert_eq!(scene.phase(at(4, 1)), Some(LunPhase::Removing));
    delay.release();
    scene.used(REQUEST_QUEUE);
    assert_eq!(scene.end_of(&stuck).response, Response::OK);
    until(|| scene.phase(at(4, 1)).is_none());
    scene.hba().unit_gone(&slow);
    scene.hba().add_lun(at(4, 1), &unit()).unwrap();
    scene.settle(at(4, 1));
}

#[test]
fn what_cannot_be_is_refused_by_name_and_leaves_nothing() {
    let scene = Scene::new();
    let disk = unit();
    scene.hba().add_lun(at(0, 0), &disk).unwrap();
    let exists = scene.hba().add_lun(at(0, 0), &unit()).unwrap_err();
    assert!(exists.to_string().contains("LUN 0 of target 0"), "{exists}");
    let twice = scene.hba().add_lun(at(9, 1), &disk).unwrap_err();
    assert!(twice.to_string().contains("LUN 1 of target 9"), "{twice}");
    assert!(matches!(scene.hba().remove_lun(at(9, 1)), Err(LunError::Absent(_))));
    assert_eq!(scene.hba().luns().len(), 1);
}

/// A disk that one core cannot serve.
struct Picky(Arc<dyn Device>);

impl Device for Picky {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        if core == CoreId(0) {
            return self.0.open(core);
        }
        Err(OpenError::NoQueue { device: "picky".into(), core: core.0, queues: 1, users: vec![0] })
    }
}

#[test]
fn a_lun_that_a_core_cannot_serve_is_refused_and_undone() {
    let mut scene = Scene::new();
    let picky: Arc<LogicalUnit> = unit_on(Arc::new(Picky(crate::rig::house::House::disk())));
    let refused = scene.hba().add_lun(at(0, 0), &picky).unwrap_err();
    assert!(refused.to_string().contains("picky"), "{refused}");
    assert_eq!(scene.phase(at(0, 0)), None);
    assert_eq!(Arc::strong_count(&picky), 1, "nothing keeps it");
    assert_eq!(scene.command(&Command::test_unit_ready(at(0, 0))).response, Response::BAD_TARGET);
    scene.hba().add_lun(at(0, 0), &unit()).unwrap();
    scene.settle(at(0, 0));
}
